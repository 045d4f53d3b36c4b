"""How sure a prediction is: entropy of its map, confidence of each lesion, an interval for the lesion volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from monai_isles.io.publish import publish_image
from monai_isles.io.read import read_image
from monai_isles.postprocessing.components import binarise


def entropy_bits(probability: np.ndarray) -> np.ndarray:
    """Return the entropy of lesion or not lesion, voxel by voxel: 0 where the map is sure, 1 where it says one half.

    Shapes: any, kept; float32 out. Units: bits.
    Source: Shannon 1948; ``tests/inference/test_confidence.py``.
    """
    p = np.clip(np.asarray(probability, dtype=np.float64), 0.0, 1.0)
    terms = [np.where(q > 0, -q * np.log2(np.where(q > 0, q, 1.0)), 0.0) for q in (p, 1.0 - p)]
    return (terms[0] + terms[1]).astype(np.float32)


def publish_entropy(folder: Path) -> Path:
    """Write ``entropy.nii.gz`` beside the ``probability.nii.gz`` of a predicted case, on its grid.

    Raises:
        IslesError: what ``read_image`` and ``publish_image`` raise.
    """
    source = read_image(folder / "probability.nii.gz", kind="probability", where=folder.name)
    publish_image(folder / "entropy.nii.gz", entropy_bits(source.data), source, dtype=np.float32)
    return folder / "entropy.nii.gz"


def lesion_confidence(
    lesion: np.ndarray, probability: np.ndarray, uncertainty: np.ndarray | None, voxel_ml: float
) -> list[dict[str, float | None]]:
    """Return volume, mean probability and mean uncertainty of every 6-connected component, the largest first.

    Shapes: all ``(H, W, D)``. Units: ml; ``voxel_ml`` is the volume of one voxel.

    Args:
        lesion: binary mask.
        uncertainty: standard deviation over windows and passes; None gives None.
    Source: ours; ``tests/inference/test_confidence.py``.
    """
    labels, count = ndimage.label(np.asarray(lesion) > 0, structure=ndimage.generate_binary_structure(3, 1))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    means = [
        None if values is None else np.bincount(labels.ravel(), weights=np.asarray(values).ravel().astype(np.float64))
        for values in (probability, uncertainty)
    ]
    order = np.argsort(-sizes[1:], kind="stable") + 1
    return [
        {
            "volume_ml": round(float(sizes[k]) * voxel_ml, 3),
            "mean_probability": round(float(means[0][k] / sizes[k]), 4),
            "mean_uncertainty": None if means[1] is None else round(float(means[1][k] / sizes[k]), 4),
        }
        for k in order
    ]


def volume_interval(
    probability: np.ndarray, uncertainty: np.ndarray, threshold: float, min_size_vox: int, voxel_ml: float
) -> tuple[float, float]:
    """Return the lesion volume if every voxel were one standard deviation less likely, and one more likely.

    The mask is cut from ``probability - uncertainty`` and from ``probability + uncertainty`` by the same threshold and
    smallest size. Voxels move together in it, so it is wide where windows and passes disagree. It is no confidence
    interval: how often it holds the reference is what ``monai-isles evaluate`` counts. The volume of the prediction
    itself is always in it.

    Shapes: ``(H, W, D)``. Units: ml.
    Raises: ``E-POST-01`` to ``E-POST-03``.
    Source: ours; ``tests/inference/test_confidence.py``.
    """
    p, u = (np.asarray(values, dtype=np.float32) for values in (probability, uncertainty))
    masks = [binarise(np.clip(p + sign * u, 0, 1), threshold, min_size_vox) for sign in (-1, 1)]
    low, high = (float(mask.sum()) * voxel_ml for mask in masks)
    return round(low, 3), round(high, 3)
