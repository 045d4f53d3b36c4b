"""The weight map that turns the losses towards the lesion."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from scipy import ndimage
from torch import Tensor

from monai_isles.errors import refused


def lesion_weight(lesion: np.ndarray, *, inside: float = 1.5, decay_vox: float = 50.0) -> np.ndarray:
    """Return ``inside`` in the lesion and ``0.5 + e / (e + 1)``, ``e = exp(-distance / decay)``, elsewhere.

    The distance is exact, Euclidean and in plane, slice by slice, in voxels (the paper gives no unit). Beside the
    lesion the weight is just below 1; it falls to 0.5 far away. A slice without lesion is infinitely far: 0.5.

    Shapes: (H, W) or (H, W, D), binary; the same shape, float32, out.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (9), w = 1.5, D = 50.

    >>> lesion = np.zeros((5, 5), bool)
    >>> lesion[2, 2] = True
    >>> float(lesion_weight(lesion)[2, 2])
    1.5
    """
    mask = np.asarray(lesion) > 0
    slices = mask[..., None] if mask.ndim == 2 else mask
    weight = np.full(slices.shape, 0.5, dtype=np.float32)
    for level in np.flatnonzero(slices.any(axis=(0, 1))):
        near = np.exp(-ndimage.distance_transform_edt(~slices[..., level]) / decay_vox)
        weight[..., level] = np.where(slices[..., level], inside, 0.5 + near / (near + 1))
    return weight.reshape(mask.shape)


class LesionWeightd(MapTransform):
    """Compute the weight map A of a lesion mask; once a case where the dataset or the loader caches.

    Shapes: ``(1, H, W, D)`` or ``(1, H, W)`` in and out, float32; affine unchanged.
    Units: ``decay_vox`` in voxels in plane.
    Args:
        key: entry holding the lesion. name: entry that receives the map.
        inside: weight of the lesion, w. decay_vox: D.
    Raises:
        IslesError: ``E-TPW-06`` for a weight below 1 or a decay that is not positive.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (9); ``tests/transforms/test_weight_maps.py``.
    """

    def __init__(
        self,
        key: str = "label",
        *,
        name: str = "weight",
        inside: float = 1.5,
        decay_vox: float = 50.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(key, allow_missing_keys)
        self.name, self.inside, self.decay_vox = name, inside, decay_vox
        if not inside >= 1 or not decay_vox > 0:
            raise refused("E-TPW-06", where="LesionWeightd", found=f"inside {inside}, decay_vox {decay_vox}")

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            mask = np.asarray(out[key])[0]
            weight = torch.from_numpy(lesion_weight(mask, inside=self.inside, decay_vox=self.decay_vox))[None]
            out[self.name] = convert_to_dst_type(weight, out[key], dtype=torch.float32)[0]
        return out
