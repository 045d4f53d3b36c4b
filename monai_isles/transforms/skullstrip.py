"""Skull stripping of a CT with the support of its perfusion maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.modalities import PERFUSION_MAPS


def brain_mask(maps: Sequence[Tensor], *, where: str = "") -> Tensor:
    """Return 1 where the sum of the perfusion maps is above zero, 0 elsewhere, as float32.

    Shapes: every map ``(1, H, W, D)``; the mask has the same shape.
    Units: the maps' own; their background is exactly zero.

    Raises:
        IslesError: ``E-STRIP-01`` for an empty mask, ``E-STRIP-02`` for maps of different shapes.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487.
    """
    shapes = sorted({tuple(image.shape) for image in maps})
    if len(shapes) != 1:
        raise refused("E-STRIP-02", where=where, found=f"shapes {', '.join(map(str, shapes))}")
    mask = (torch.stack([torch.as_tensor(image).as_subclass(Tensor) for image in maps]).sum(dim=0) > 0).float()
    if not mask.any():
        raise refused("E-STRIP-01", where=where, found="the sum of the maps is above zero in 0 voxels")
    return mask


class SkullStripd(MapTransform):
    """Strip the skull from the CT where the perfusion maps are zero; the maps stay untouched.

    Shapes: every entry ``(1, H, W, D)``; type, affine and shape of ``ct`` are kept by ``brain`` and ``head``.
    Units: unchanged; ``brain`` is 0 or 1.

    Args:
        ct: the image to strip. maps: the perfusion maps whose sum shows the brain.
        brain: entry that receives the mask. head: entry that receives the unstripped CT.

    Raises:
        IslesError: ``E-STRIP-01`` no brain, ``E-STRIP-02`` shapes differ, ``E-STRIP-03`` an entry is missing.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487.
    """

    def __init__(
        self, ct: str = "ct", maps: Sequence[str] = PERFUSION_MAPS, brain: str = "brain", head: str = "head"
    ) -> None:
        super().__init__((ct, *maps))
        self.ct, self.maps, self.brain, self.head = ct, tuple(maps), brain, head

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, where = dict(data), str(data.get("case", "this entry"))
        missing = [key for key in (self.ct, *self.maps) if key not in out]
        if missing:
            raise refused("E-STRIP-03", where=where, found=f"no {', '.join(missing)} among {', '.join(map(str, out))}")
        ct = out[self.ct]
        mask = brain_mask([out[key] for key in self.maps], where=f"{where}: {', '.join(self.maps)}")
        if mask.shape != ct.shape:
            raise refused(
                "E-STRIP-02",
                where=f"{where}: {self.ct} and its maps",
                found=f"{tuple(ct.shape)} against {tuple(mask.shape)}",
            )
        out[self.head] = ct.clone()
        out[self.ct] = ct * mask
        out[self.brain] = convert_to_dst_type(mask, ct, dtype=torch.float32)[0]
        return out
