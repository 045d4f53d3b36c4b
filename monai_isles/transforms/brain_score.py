"""Standard scores taken inside the brain, where skull and air would drown the contrast."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.modalities import PERFUSION_MAPS
from monai_isles.transforms.skullstrip import brain_mask


class BrainScored(MapTransform):
    """Subtract the mean and divide by the spread inside the brain; set everything outside to zero.

    The channels of one entry share mean and spread, so the frames of a series keep their relation. The brain is where
    any perfusion map is above zero. An entry without spread becomes zero. With ``allow_missing_keys`` and none of the
    keys there, the maps need not be there either.

    Shapes: ``(C, H, W, D)`` in and out, float32. Units: standard deviations.
    Args:
        keys: entries to score. maps: the perfusion maps, read before any of them is scored.
    Raises:
        IslesError: ``E-STRIP-01`` no brain, ``E-STRIP-02`` shapes differ.
    Source: ours (Wang 2020 states no normalisation and keeps the skull); ``tests/transforms/test_brain_score.py``.
    """

    def __init__(
        self, keys: KeysCollection, *, maps: Sequence[str] = PERFUSION_MAPS, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.maps = tuple(maps)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        if not any(key in out for key in self.keys) and self.allow_missing_keys:
            return out
        mask = brain_mask([out[key] for key in self.maps], where=str(data.get("case", "this entry")))
        for key in self.key_iterator(out):
            plain = torch.as_tensor(out[key]).as_subclass(Tensor).float()
            inside = plain[mask.bool().expand_as(plain)].double()
            spread = inside.std(correction=0).clamp_min(1e-6)
            scored = ((plain - inside.mean()) / spread * mask).float()
            out[key] = convert_to_dst_type(scored, out[key], dtype=torch.float32)[0]
        return out
