"""Blood flow relative to the healthy side, inside a MONAI chain."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.modalities import PERFUSION_MAPS
from monai_isles.perfusion.sides import contralateral, relative_cbf
from monai_isles.transforms.hemispheres import split_head
from monai_isles.transforms.skullstrip import brain_mask


class RelativeFlowd(MapTransform):
    """Add CBF as a fraction of the contralateral mean, and the brain it was measured in.

    The healthy side is the one with less Tmax > 6 s; the sides are told apart by the CT's mirror image, or by the
    brain's centre column without a CT that can be registered. ``midline`` says which: ``mirror`` or ``centroid``.

    Shapes: every entry ``(1, H, W, D)``, RAS+; ``rcbf`` and ``brain`` have the shape and affine of ``cbf``, float32.
    Units: CBF any, it cancels; Tmax s; voxels count as 1 mm without an affine.

    Args:
        cbf, tmax: the maps of the rule. maps: those whose sum above zero is the brain. ct: unstripped CT, if there.
        rcbf, brain, midline: entries that receive the results.

    Raises:
        IslesError: ``E-STRIP-01`` no brain, ``E-STRIP-02`` shapes differ, ``E-STRIP-04`` a map is missing,
            ``E-EVAL-01`` a side without brain, ``E-EVAL-02`` no flow on the healthy side.

    Source: ``monai_isles.perfusion.relative_cbf``; ``tests/transforms/test_relative_flow.py``.
    """

    def __init__(
        self,
        cbf: str = "cbf",
        tmax: str = "tmax",
        maps: Sequence[str] = PERFUSION_MAPS,
        ct: str = "ct",
        rcbf: str = "rcbf",
        brain: str = "brain",
        midline: str = "midline",
    ) -> None:
        super().__init__((cbf, tmax, *maps))
        self.cbf, self.tmax, self.maps, self.ct = cbf, tmax, tuple(maps), ct
        self.rcbf, self.brain, self.midline = rcbf, brain, midline

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, where = dict(data), str(data.get("case", "this entry"))
        missing = [key for key in dict.fromkeys((self.cbf, self.tmax, *self.maps)) if key not in out]
        if missing:
            raise IslesError(
                "E-STRIP-04",
                "a perfusion map is missing",
                where=where,
                found=f"no {', '.join(missing)} among {', '.join(map(str, out))}",
                fix="load these maps, or name others in RelativeFlowd(cbf=, tmax=, maps=)",
            )
        image = out[self.cbf]
        mask = brain_mask([out[key] for key in self.maps], where=f"{where}: {', '.join(self.maps)}")
        brain, cbf, tmax_s = mask.numpy()[0] > 0, _volume(image), _volume(out[self.tmax])
        ct = _volume(out[self.ct]) if self.ct in out else None
        left, out[self.midline] = split_head(ct, brain, _spacing_mm(image), where=where)
        flow = relative_cbf(cbf, brain, contralateral(tmax_s, brain, left)).astype(np.float32)
        out[self.rcbf] = convert_to_dst_type(flow[None], image, dtype=torch.float32)[0]
        out[self.brain] = convert_to_dst_type(mask, image, dtype=torch.float32)[0]
        return out


def _volume(image: Tensor) -> np.ndarray:
    return torch.as_tensor(image).detach().cpu().numpy()[0]


def _spacing_mm(image: Tensor) -> tuple[float, float, float]:
    if not isinstance(image, MetaTensor):
        return 1.0, 1.0, 1.0
    first, second, third = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
    return float(first), float(second), float(third)
