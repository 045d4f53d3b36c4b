"""The highest intensity that each voxel of a contrast series reaches."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import IslesError


class TemporalMIPd(MapTransform):
    """Project a series along time by its maximum, over all frames, before any cropping.

    Shapes: ``(T, H, W, D)`` in, ``(1, H, W, D)`` float32 out; affine unchanged. Units: those of the series.
    Args:
        keys: one entry holding a time-first series. name: entry that receives the projection.
    Raises:
        IslesError: ``E-TPW-04`` for a single volume.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (1); ``tests/transforms/test_temporal_mip.py``.
    """

    def __init__(self, keys: KeysCollection, *, name: str = "mip", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.name = name

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            series = out[key]
            if series.ndim != 4 or series.shape[0] < 2:
                raise IslesError(
                    "E-TPW-04",
                    "a projection along time needs a series",
                    where=f"{data.get('case', 'this entry')}: {key}",
                    found=f"shape {tuple(series.shape)}",
                    fix="give the contrast series, time-first (T, H, W, D), before PerfusionWindowd replaces it",
                )
            highest = torch.as_tensor(series).as_subclass(Tensor).amax(0, keepdim=True).float()
            out[self.name] = convert_to_dst_type(highest, series, dtype=torch.float32)[0]
        return out
