"""Whether the intensities of a case lie where those of the training cases lay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_isles.bundle.bundle import OTHER_WEIGHTS
from monai_isles.perfusion.quality import Flag

TRAINED = "training_intensities"


def brain_facts(image: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Return the median and the 99th percentile in the brain. Shapes: (H, W, D) both; units of the image."""
    inside = image[brain]
    low, high = np.percentile(inside, [50, 99]) if inside.size else (0.0, 0.0)
    return {"median": float(low), "p99": float(high)}


def intensity_flags(images: Mapping[str, np.ndarray], brain: np.ndarray, metadata: Mapping[str, Any]) -> list[Flag]:
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


def _unlike(key: str, found: Mapping[str, float], seen: Mapping[str, Any]) -> list[Flag]:
    flags = []
    for name, words in (("median", "median"), ("p99", "99th percentile")):
        low, high = map(float, seen[name])
        room = 0.1 * (high - low)
        if not low - room <= found[name] <= high + room:
            text = f"{key}: {words} {found[name]:.4g} in the brain, {low:.4g} to {high:.4g} in the training cases"
            flags.append(Flag("unseen-intensities", "warning", text))
    return flags
