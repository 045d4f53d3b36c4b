"""The intensity scale on which a pseudo-DWI is synthesised."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import IslesError


def scaled_dwi(image: Tensor, *, percentile: float = 99.0, clip: bool = True, where: str = "") -> Tensor:
    """Return ``(image - min) / (percentile - min)`` of the whole volume, background included.

    The paper says "scaled to (0, 1)"; the voxels above the percentile are clipped to 1 so that this holds.

    Shapes: any, kept. Units: none out.
    Raises:
        IslesError: ``E-TPW-05`` when minimum and percentile are the same.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1.
    """
    values = image.float()
    low = values.min()
    high = torch.quantile(_thinned(values), percentile / 100)
    if not high > low:
        raise IslesError(
            "E-TPW-05",
            "the DWI has no contrast to scale",
            where=where or "DWI",
            found=f"minimum {float(low):g}, {percentile:g}th percentile {float(high):g}",
            fix="check that the file is the diffusion-weighted image (b about 1000) and not a mask",
        )
    scaled = (values - low) / (high - low)
    return scaled.clamp(max=1.0) if clip else scaled


def _thinned(values: Tensor, most: int = 2**24) -> Tensor:
    """Return all values, or every n-th where there are more than torch's quantile takes."""
    flat = values.flatten()
    return flat[:: -(-flat.numel() // most)]


class ScaleDWId(MapTransform):
    """Scale a DWI volume to 0..1 by its minimum and 99th percentile.

    Shapes: ``(1, H, W, D)`` in and out, float32; affine unchanged.
    Args:
        keys: entries to scale. percentile: what becomes 1. clip: cut what lies above.
    Raises:
        IslesError: ``E-TPW-05`` from ``scaled_dwi``.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1; ``tests/transforms/test_intensity.py``.
    """

    def __init__(
        self, keys: KeysCollection, *, percentile: float = 99.0, clip: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.percentile, self.clip = percentile, clip

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            plain = torch.as_tensor(out[key]).as_subclass(Tensor)
            where = f"{data.get('case', 'this entry')}: {key}"
            scaled = scaled_dwi(plain, percentile=self.percentile, clip=self.clip, where=where)
            out[key] = convert_to_dst_type(scaled, out[key], dtype=torch.float32)[0]
        return out
