"""Whether the intensities of a case lie where those of the training cases lay."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_isles.perfusion.quality import Flag
from monai_isles.perfusion.trained import TRAINING_MAPS, require_settings

TRAINED = "training_intensities"
OF_WEIGHTS = ("eval_metrics", TRAINED, TRAINING_MAPS)
OTHER_WEIGHTS = "other_weights"


def brain_facts(image: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Return the median and the 99th percentile in the brain. Shapes: (H, W, D) both; units of the image."""
    inside = image[brain]
    low, high = np.percentile(inside, [50, 99]) if inside.size else (0.0, 0.0)
    return {"median": float(low), "p99": float(high)}


def intensity_flags(images: Mapping[str, np.ndarray], brain: np.ndarray, metadata: Mapping[str, object]) -> list[Flag]:
    """Return a remark on every image unlike those that the model was trained on.

    Compared are the median and the 99th percentile in the brain with their smallest and largest value among the
    training cases (``training_intensities`` of the metadata), a tenth of that span allowed beyond either end; without
    them the bundle's stated range of values.

    Shapes: images and ``brain`` (H, W, D).
    Args:
        images: by modality key. metadata: of the bundle.
    Source: ours; ``tests/inference/test_intensity_check.py``.
    """
    trained, stated = metadata.get(TRAINED), metadata.get("modalities") or {}
    if not trained and not stated:
        return [Flag("unseen-intensities", "info", "the bundle does not say what intensities it was trained on")]
    flags = []
    if metadata.get(OTHER_WEIGHTS):
        text = "the weights are not those that the bundle describes: what maps and intensities they know is not stated"
        flags.append(Flag("unseen-intensities", "info", text))
    for key, image in images.items():
        found = brain_facts(image, brain)
        if trained and key in trained:
            flags += _unlike(key, found, trained[key])
        elif key in stated and "typical_max_in_brain" in stated[key]:
            limit = float(stated[key]["typical_max_in_brain"])
            if found["p99"] > limit:
                text = f"{key}: 99th percentile {found['p99']:.4g} in the brain, the bundle states at most {limit:g}"
                flags.append(Flag("unseen-intensities", "warning", text))
    return flags


def read_metadata(bundle: Path, weights_sha256: Sequence[str] | None = None) -> dict[str, object]:
    """Return the bundle's metadata, empty where it has none.

    Args:
        weights_sha256: checksums of the weights in use; where the metadata names others, what it says of results and
            training (``OF_WEIGHTS``) is not of these weights and left out, ``other_weights`` says so.
    Raises:
        IslesError: ``E-PERF-30`` training maps that cannot be made.
    """
    for path in (bundle / "metadata.json", bundle / "configs" / "metadata.json"):
        if path.is_file():
            content = json.loads(path.read_bytes())
            break
    else:
        return {}
    named = content.get("weights_sha256")
    if weights_sha256 and named and set(weights_sha256) != {named}:
        content = {key: value for key, value in content.items() if key not in OF_WEIGHTS} | {OTHER_WEIGHTS: True}
    if TRAINING_MAPS in content:
        require_settings(content[TRAINING_MAPS])
    return content


def _unlike(key: str, found: Mapping[str, float], seen: Mapping[str, object]) -> list[Flag]:
    flags = []
    for name, words in (("median", "median"), ("p99", "99th percentile")):
        low, high = map(float, seen[name])
        room = 0.1 * (high - low)
        if not low - room <= found[name] <= high + room:
            text = f"{key}: {words} {found[name]:.4g} in the brain, {low:.4g} to {high:.4g} in the training cases"
            flags.append(Flag("unseen-intensities", "warning", text))
    return flags
