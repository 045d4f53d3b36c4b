"""Scale the intensities of inputs and targets, and strip the skull with the brain mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.modalities import PERFUSION_MAPS
from monai_isles.perfusion.masks import skull_interior, smooth_in_plane
from monai_isles.perfusion.thresholds import contralateral_side, relative_cbf
from monai_isles.transforms.registration import split_head


def brain_mask(maps: Sequence[Tensor], *, where: str = "") -> Tensor:
    """Return 1 where the sum of the perfusion maps is above zero, 0 elsewhere, as float32.

    Shapes: every map ``(1, H, W, D)``; the mask has the same shape.
    Units: the maps' own; their background is exactly zero.

    Raises: ``E-STRIP-01`` for an empty mask, ``E-STRIP-02`` for maps of different shapes.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487.

    >>> maps = [torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)]
    >>> brain_mask(maps).flatten().tolist()
    [0.0, 1.0]
    """
    shapes = sorted({tuple(image.shape) for image in maps})
    if len(shapes) != 1:
        raise refused("E-STRIP-02", where=where, found=f"shapes {', '.join(map(str, shapes))}")
    mask = (torch.stack([torch.as_tensor(image).as_subclass(Tensor) for image in maps]).sum(dim=0) > 0).float()
    if not mask.any():
        raise refused("E-STRIP-01", where=where, found="the sum of the maps is above zero in 0 voxels")
    return mask


def enclosed_brain(series: Tensor, *, where: str = "") -> Tensor:
    """Return 1 where bone encloses the first frame of a CT series, 0 elsewhere, as float32 ``(1, H, W, D)``.

    Shapes: ``(T, H, W, D)``. Units: HU; voxels count as 1 mm without an affine.
    """
    first = torch.as_tensor(series[0]).as_subclass(Tensor).float().cpu().numpy()
    mask = torch.from_numpy(skull_interior(first, spacing_of(series))[0]).float()[None]
    if not mask.any():
        raise refused("E-STRIP-01", where=where, found="no perfusion map, and no skull around the series")
    return mask


class SkullStripd(MapTransform):
    """Strip the skull from the CT where the sum of the perfusion maps is zero; the maps stay untouched.

    Shapes: every entry ``(1, H, W, D)``; ``brain`` receives the mask and ``head`` the unstripped CT, with the type,
        affine and shape of ``ct``. Units: unchanged; ``brain`` is 0 or 1.

    Raises: ``E-STRIP-01`` no brain, ``E-STRIP-02`` shapes differ, ``E-STRIP-03`` an entry is missing.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487.

    >>> case = {key: torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1) for key in ("cbf", "cbv", "mtt", "tmax")}
    >>> case["ct"] = torch.tensor([900.0, 35.0]).reshape(1, 2, 1, 1)
    >>> SkullStripd()(case)["ct"].flatten().tolist()
    [0.0, 35.0]
    """

    def __init__(self, ct: str = "ct", maps: Sequence[str] = PERFUSION_MAPS) -> None:
        super().__init__((ct, *maps))
        self.ct, self.maps = ct, tuple(maps)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, where = dict(data), str(data.get("case", "this entry"))
        missing = [key for key in (self.ct, *self.maps) if key not in out]
        if missing:
            raise refused("E-STRIP-03", where=where, found=f"no {', '.join(missing)} among {', '.join(map(str, out))}")
        ct = out[self.ct]
        mask = brain_mask([out[key] for key in self.maps], where=f"{where}: {', '.join(self.maps)}")
        if mask.shape != ct.shape:
            result = f"{tuple(ct.shape)} against {tuple(mask.shape)}"
            raise refused("E-STRIP-02", where=f"{where}: {self.ct} and its maps", found=result)
        brain = convert_to_dst_type(mask, ct, dtype=torch.float32)[0]
        return out | {"head": ct.clone(), self.ct: ct * mask, "brain": brain}


class BrainScored(MapTransform):
    """Subtract the mean and divide by the spread inside the brain; set everything outside to zero.

    The channels of one entry share mean and spread, so the relation between the frames of a series stays. The brain is
    where any perfusion map is above zero; without maps, the space enclosed by bone in the first frame of the series. An
    entry without spread becomes zero. With ``allow_missing_keys`` and none of the keys present, nothing is done.

    Shapes: ``(C, H, W, D)`` in and out, float32. Units: standard deviations.
    Raises: ``E-STRIP-01`` no brain, ``E-STRIP-02`` shapes differ.
    Source: ours (Wang 2020 states no normalisation and keeps the skull); ``tests/transforms/test_brain_score.py``.

    >>> maps = {key: torch.tensor([0.0, 1.0, 3.0]).reshape(1, 3, 1, 1) for key in ("cbf", "cbv", "mtt", "tmax")}
    >>> [round(float(v), 3) for v in BrainScored("cbf")(maps)["cbf"].flatten()[1:]]
    [-1.0, 1.0]
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
        where = str(data.get("case", "this entry"))
        if any(name in out for name in self.maps):
            mask = brain_mask([out[name] for name in self.maps], where=where)
        else:
            longest = max(self.key_iterator(out), key=lambda key: len(out[key]))
            mask = enclosed_brain(out[longest], where=where)
        for key in self.key_iterator(out):
            plain = torch.as_tensor(out[key]).as_subclass(Tensor).float()
            inside = plain[mask.bool().expand_as(plain)].double()
            spread = inside.std(correction=0).clamp_min(1e-6)
            scored = ((plain - inside.mean()) / spread * mask).float()
            out[key] = convert_to_dst_type(scored, out[key], dtype=torch.float32)[0]
        return out


class ChannelsScored(MapTransform):
    """Subtract from every channel its mean and divide by its spread, over the whole volume or over the foreground.

    All voxels of a channel use the same two numbers, so equal values stay equal. Over the whole volume these numbers
    depend on the amount of air around the head; over the foreground they do not. A channel without spread is only
    shifted.

    Shapes: ``(C, H, W, D)`` in and out, float32; affine unchanged. Units: standard deviations.
    Args:
        over: ``volume``, or ``foreground``, where the entry of that name is above zero.
    Raises: ``E-STRIP-05`` another value of ``over``.
    Source: ``volume`` is MONAI's ``NormalizeIntensityd`` with ``channel_wise``; ``foreground`` ours.

    >>> image = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)
    >>> ChannelsScored("image")({"image": image})["image"].flatten().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, keys: KeysCollection, *, over: str = "volume") -> None:
        super().__init__(keys)
        if over not in ("volume", "foreground"):
            raise refused("E-STRIP-05", where="ChannelsScored", found=repr(over))
        self.over = over

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            plain = torch.as_tensor(out[key]).as_subclass(Tensor).float()
            seen = torch.as_tensor(out["foreground"])[0] > 0 if self.over == "foreground" else None
            values = plain.flatten(1) if seen is None or not seen.any() else plain[:, seen.as_subclass(Tensor)]
            mean, spread = values.double().mean(1), values.double().std(1, correction=0)
            spread = torch.where(spread > 0, spread, 1.0)
            scored = ((plain - mean.view(-1, 1, 1, 1)) / spread.view(-1, 1, 1, 1)).float()
            out[key] = convert_to_dst_type(scored, out[key], dtype=torch.float32)[0]
        return out


# by map: the quantile in the brain that stands for healthy tissue, and what the distance from it is divided by
HEALTHY: dict[str, tuple[float, float | None]] = {
    "cbf": (0.7, None), "cbv": (0.7, None), "mtt": (0.3, None), "tmax": (0.3, 6.0),
}  # fmt: skip
CT_HU, LEAST, MOST, _LEAST_USUAL, _SMOOTH_MM = (35.0, 10.0), -3.0, 5.0, 1e-6, 8.0


class HealthyScaled(MapTransform):
    """Scale each map by healthy tissue of the same scan, to make map software and scanners comparable.

    CBF and CBV become parts of their 70th percentile in the brain, MTT of its 30th, less one: most of the brain is
    healthy, and ischemia has less flow and longer times. Tmax becomes the excess over its 30th percentile in units of 6
    s. The percentiles are those of the map smoothed by 8 mm, which noise changes little. CT becomes tens of HU over 35.
    All is cut to -3 to 5 and zero outside the brain, where no map is above zero.

    Shapes: ``(1, H, W, D)`` in and out, float32; ``head`` gets the CT as it was, ``brain`` the mask.
    Units: those of ``monai_isles.modalities`` in, none out.
    Args:
        keys: the maps, of ``HEALTHY``; ``ct`` is scaled too where it is there.
        suffixes: of sets of maps, each scaled by itself where it is there; the first one there masks the CT.
    Raises: ``E-STRIP-01`` no brain, ``E-STRIP-02`` shapes differ.

    >>> image = torch.tensor([10.0, 40.0, 40.0, 40.0]).reshape(1, 4, 1, 1)
    >>> coarse = MetaTensor(image, affine=np.diag([30.0, 30.0, 30.0, 1.0]))  # mm
    >>> case = HealthyScaled()({key: coarse for key in ("cbf", "cbv", "mtt", "tmax")})
    >>> case["cbf"].flatten().round(decimals=2).tolist()  # three quarters of the flow are lost in the first voxel
    [-0.75, 0.0, 0.0, 0.0]
    """

    def __init__(self, keys: KeysCollection = PERFUSION_MAPS, suffixes: Sequence[str] = ("",)) -> None:
        super().__init__(keys)
        self.suffixes = tuple(suffixes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        available = [suffix for suffix in self.suffixes if all(f"{key}{suffix}" in out for key in self.keys)]
        masks = [self._scale(out, suffix) for suffix in available or self.suffixes[:1]]
        if "ct" in out:
            out["head"] = out["ct"]
            scaled = (np.asarray(out["ct"]) - CT_HU[0]) / CT_HU[1]
            out["ct"] = self._like(scaled, masks[0].numpy() > 0, out["ct"])
        out["brain"] = convert_to_dst_type(masks[0], out[f"{self.keys[0]}{available[0]}"], dtype=torch.float32)[0]
        return out

    def _scale(self, out: dict[Hashable, Any], suffix: str) -> Tensor:
        """Scale one set of maps in place; return its brain."""
        named = {f"{key}{suffix}": HEALTHY[str(key)] for key in self.keys}
        mask = brain_mask([out[name] for name in named], where=str(out.get("case", "this entry")))
        inside = mask.numpy() > 0
        for name, (share, unit) in named.items():
            image = np.ascontiguousarray(out[name], np.float32)
            # Noise moves a percentile, so it is that of the smoothed map.
            smooth = smooth_in_plane(
                torch.from_numpy(image), mask[0], fwhm_mm=_SMOOTH_MM, spacing_mm=spacing_of(out[name])[:2]
            )
            # A flow, volume or transit time of 0 was not measured.
            measured = smooth.numpy()[inside & (image > 0) if unit is None else inside]
            usual = max(float(np.quantile(measured, share)), _LEAST_USUAL) if measured.size else _LEAST_USUAL
            out[name] = self._like((image - usual) / (unit or usual), inside, out[name])
        return mask

    def _like(self, scaled: np.ndarray, inside: np.ndarray, image: Tensor) -> Tensor:
        cut = np.where(inside, np.clip(scaled, LEAST, MOST), 0.0).astype(np.float32)
        return convert_to_dst_type(cut, image, dtype=torch.float32)[0]


class RelativeFlowd(MapTransform):
    """Add CBF as a fraction of the contralateral mean, and the brain mask used for it.

    The healthy side is the one with less Tmax > 6 s. The midline comes from the CT's registered mirror image, or from
    the brain's centre column without a CT that can be registered; ``midline`` is ``mirror`` or ``centroid``.

    Shapes: every entry ``(1, H, W, D)``, RAS+; ``rcbf`` and ``brain`` have the shape and affine of ``cbf``, float32.
    Units: CBF any, it cancels; Tmax s; voxels count as 1 mm without an affine.

    Args:
        cbf, tmax: the maps of the rule.
        maps, ct: those whose sum above zero is the brain; the unstripped CT, if there is one that is read.

    Raises: ``E-STRIP-01`` no brain, ``E-STRIP-04`` a map is missing, ``E-EVAL-02`` no healthy flow, and others.

    Source: ``monai_isles.perfusion.relative_cbf``; ``tests/transforms/test_relative_flow.py``.

    >>> cbf, tmax = torch.full((1, 4, 4, 1), 40.0), torch.ones(1, 4, 4, 1)
    >>> cbf[0, 0, 0], tmax[0, 0, 0] = 10.0, 8.0  # one voxel on the left with a quarter of the flow
    >>> case = RelativeFlowd()({"cbf": cbf, "cbv": cbf, "mtt": cbf, "tmax": tmax})
    >>> float(case["rcbf"][0, 0, 0, 0]), case["midline"]
    (0.25, 'centroid')
    """

    def __init__(
        self, cbf: str = "cbf", tmax: str = "tmax", maps: Sequence[str] = PERFUSION_MAPS, ct: str = "ct"
    ) -> None:
        super().__init__((cbf, tmax, *maps))
        self.cbf, self.tmax, self.maps, self.ct = cbf, tmax, tuple(maps), ct

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out, where = dict(data), str(data.get("case", "this entry"))
        missing = [key for key in dict.fromkeys((self.cbf, self.tmax, *self.maps)) if key not in out]
        if missing:
            raise refused("E-STRIP-04", where=where, found=f"no {', '.join(missing)} among {', '.join(map(str, out))}")
        image = out[self.cbf]
        mask = brain_mask([out[key] for key in self.maps], where=f"{where}: {', '.join(self.maps)}")
        brain, cbf, tmax_s = mask.numpy()[0] > 0, volume_of(image), volume_of(out[self.tmax])
        ct = volume_of(out[self.ct]) if self.ct in out and not isinstance(out[self.ct], str) else None
        left, out["midline"] = split_head(ct, brain, spacing_of(image), where=where)
        flow = relative_cbf(cbf, brain, contralateral_side(tmax_s, brain, left)).astype(np.float32)
        out["rcbf"] = convert_to_dst_type(flow[None], image, dtype=torch.float32)[0]
        out["brain"] = convert_to_dst_type(mask, image, dtype=torch.float32)[0]
        return out


def scaled_dwi(image: Tensor, *, percentile: float = 99.0, where: str = "") -> Tensor:
    """Return ``(image - min) / (percentile - min)`` of the whole volume, background included, 1 at most.

    The paper says "scaled to (0, 1)"; the voxels above the percentile are clipped so that this holds.

    Shapes: any, kept. Units: none out.
    Raises: ``E-TPW-05`` when minimum and percentile are the same.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1.

    >>> scaled_dwi(torch.arange(101.0)).max()
    tensor(1.)
    """
    values = image.float()
    low = values.min()
    thin = values.flatten()[:: -(-values.numel() // 2**24)]  # torch.quantile takes no more values
    high = torch.quantile(thin, percentile / 100)
    if not high > low:
        result = f"minimum {float(low):g}, {percentile:g}th percentile {float(high):g}"
        raise refused("E-TPW-05", where=where or "DWI", found=result)
    return ((values - low) / (high - low)).clamp(max=1.0)


class ScaleDWId(MapTransform):
    """Scale a DWI volume to 0..1 by its minimum and 99th percentile.

    Shapes: ``(1, H, W, D)`` in and out, float32; affine unchanged.
    Raises: ``E-TPW-05`` from ``scaled_dwi``.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1; ``tests/transforms/test_intensity.py``.

    >>> float(ScaleDWId("dwi")({"dwi": torch.arange(101.0).reshape(1, 101, 1, 1)})["dwi"].max())
    1.0
    """

    def __init__(self, keys: KeysCollection, *, percentile: float = 99.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.percentile = percentile

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            plain = torch.as_tensor(out[key]).as_subclass(Tensor)
            where = f"{data.get('case', 'this entry')}: {key}"
            scaled = scaled_dwi(plain, percentile=self.percentile, where=where)
            out[key] = convert_to_dst_type(scaled, out[key], dtype=torch.float32)[0]
        return out


def volume_of(image: Tensor) -> np.ndarray:
    """Return the first channel of an image, (H, W, D) float32, on the processor."""
    return torch.as_tensor(image).detach().cpu().numpy()[0].astype(np.float32, copy=False)


def spacing_of(image: Tensor) -> tuple[float, float, float]:
    """Return the voxel size of an image in mm, 1 mm each without an affine."""
    first, second, third = map(float, image.pixdim[:3]) if isinstance(image, MetaTensor) else (1.0, 1.0, 1.0)
    return first, second, third
