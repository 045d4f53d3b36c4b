"""Threshold a lesion probability and drop small components."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.perfusion.thresholds import cluster_vox, connected_parts

_ROUNDING = 1e-5


def binarise(probability: np.ndarray, threshold: float, min_size_vox: int) -> np.ndarray:
    """Return ``probability > threshold`` without the 6-connected components of fewer than ``min_size_vox`` voxels.

    Shapes: ``(H, W, D)``, or ``(H, W)`` with 4-connected components; boolean out.
    Units: ``threshold`` is compared in the array's own precision; a component of exactly ``min_size_vox`` is kept.
    Args:
        min_size_vox: smallest component kept; 0 and 1 keep all.
    Raises: ``E-POST-01`` values outside 0..1, ``E-POST-02`` threshold, ``E-POST-03`` size.
    Source: Clerigues 2019, section 3.3; component rule ours, ``tests/postprocessing/test_components.py``.

    >>> binarise(np.array([[0.9, 0.0, 0.8], [0.9, 0.0, 0.0]]), 0.5, min_size_vox=2).sum()
    np.int64(2)
    """
    # Averages over windows and calibration round: a hair outside 0..1 is no fault of the input.
    low, high = (float(probability.min()), float(probability.max())) if probability.size else (0.0, 0.0)
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise refused("E-POST-01", where="binarise", found=f"values {low:.6g} to {high:.6g}")
    require_settings([threshold], [])
    return drop_small(probability > threshold, min_size_vox)


def drop_small(mask: np.ndarray, min_size_vox: int) -> np.ndarray:
    """Return a boolean mask without its 6-connected components of fewer than ``min_size_vox`` voxels.

    Shapes, units, source: ``binarise``. Raises: ``E-POST-03``.

    >>> drop_small(np.array([[True, False, True], [True, False, False]]), 2).sum()
    np.int64(2)
    """
    require_settings([], [min_size_vox])
    labels, sizes = connected_parts(mask)
    return (sizes >= max(min_size_vox, 1))[labels]


def require_settings(thresholds: Sequence[float], sizes_vox: Sequence[int]) -> None:
    for threshold in thresholds:
        if not 0.0 <= threshold <= 1.0:
            raise refused("E-POST-02", where="threshold", found=repr(threshold))
    for size in sizes_vox:
        if size < 0 or int(size) != size:
            raise refused("E-POST-03", where="min_size_vox", found=repr(size))


class Binarised(MapTransform):
    """Turn lesion probabilities into lesion masks inside a MONAI chain.

    Shapes: ``(1, H, W, D)`` in and out, ``uint8`` 0/1 out; affine and metadata unchanged.
    Units: ``threshold`` 0..1, ``min_size_vox`` voxels, ``min_cluster_ml`` ml.
    Args:
        min_size_vox: smallest component kept; None derives it from ``min_cluster_ml`` and the voxel size.
        min_cluster_ml: smallest component kept where ``min_size_vox`` is None; 1 mm voxels without an affine.
    Raises: ``E-POST-01`` to ``E-POST-03`` as ``binarise``, ``E-POST-04`` more than one channel.
    Source: ``binarise``.

    >>> probability = torch.tensor([0.9, 0.9, 0.0, 0.8]).reshape(1, 4, 1, 1)
    >>> Binarised("pred", threshold=0.5, min_size_vox=2)({"pred": probability})["pred"].flatten().tolist()
    [1, 1, 0, 0]
    """

    def __init__(
        self, keys: KeysCollection, threshold: float, min_size_vox: int | None, *, min_cluster_ml: float = 0.0
    ) -> None:
        super().__init__(keys)
        require_settings([threshold], [] if min_size_vox is None else [min_size_vox])
        self.threshold, self.min_size_vox, self.min_cluster_ml = threshold, min_size_vox, min_cluster_ml

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            probability, smallest = out[key], self.min_size_vox
            if probability.shape[0] != 1:
                raise refused("E-POST-04", where=f"key {key}", found=f"shape {tuple(probability.shape)}")
            if smallest is None:
                spacing_mm = probability.pixdim.tolist() if isinstance(probability, MetaTensor) else (1.0, 1.0, 1.0)
                smallest = cluster_vox(self.min_cluster_ml, spacing_mm)
            volume = np.asarray(torch.as_tensor(probability).detach().cpu().float())[0]
            mask = binarise(volume, self.threshold, smallest)[None].astype(np.uint8)
            out[key] = convert_to_dst_type(mask, dst=probability, dtype=torch.uint8)[0]
        return out
