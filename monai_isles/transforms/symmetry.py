"""Reflect every image across the head's midline, or resample all images upright about it."""

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
from torch.nn import functional

from monai_isles.errors import refused
from monai_isles.io.findings import say_once
from monai_isles.modalities import LABEL, PERFUSION_MAPS
from monai_isles.transforms.intensity import spacing_of, volume_of
from monai_isles.transforms.mirror import Grid, Mirror, apply_mirror
from monai_isles.transforms.registration import CT_WINDOW, Registration, mirror_or_midline


class SymmetricModalitiesd(MapTransform):
    """Add each image flipped left-right and registered to the original: the healthy counterpart of every voxel.

    The flipped head is registered to the head once, in the axial plane or (MRI) in three dimensions. The same map, flip
    included, is applied to every image in one interpolation. The mirrored CT comes from the whole head, masked by the
    sum of the mirrored maps.

    Shapes: every entry ``(1, H, W, D)``, any ``D >= 1``; each gains ``<key>_sym``, same shape and affine, float32.
    Units: unchanged, bilinear in plane or trilinear; without an affine voxels count as 1 mm. ``mirror`` receives the
    registration as a plain dictionary: ``angle_deg``, ``roll_deg``, ``offset_mm``, ``matrix``, ``shift_mm``,
    ``residual_mm``, ``flip_residual_mm``, ``overlap``, ``similarity``, ``method``, ``remark``.

    Args:
        keys, head: images to mirror, and the unstripped image that is registered (``SkullStripd`` makes it).
        ct: the key whose mirror image is taken from ``head`` and masked; None for MRI.
        maps: keys among ``keys`` whose mirrored sum is the mask; empty for MRI.
        method, window: as in ``register_mirror``; ``window`` None fits any intensities. A head that does not match its
            mirror image is reflected across its middle, with a remark (``mirror_or_midline``).
        dimensions: 2, one map in the axial plane for all slices, or 3, a map in space.

    Raises: ``E-SYM-01`` an entry is missing, ``E-SYM-02`` shapes differ, ``E-REG-04`` unknown method, and others.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487; in three dimensions Clèrigues 2020,
        doi:10.1016/j.cmpb.2020.105521; ``tests/transforms/test_symmetry.py``, ``test_symmetry_volume.py`` beside it.

    >>> ct = torch.from_numpy(tilted[None])
    >>> add = SymmetricModalitiesd(["ct", "tmax"], maps=["tmax"])
    >>> case = add({"ct": ct, "head": ct, "tmax": torch.ones_like(ct)})
    >>> case["tmax_sym"].shape == ct.shape, case["mirror"]["method"]
    (True, 'rigid')
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        head: str = "head",
        ct: str | None = "ct",
        maps: Sequence[str] = PERFUSION_MAPS,
        method: str = "rigid",
        dimensions: int = 2,
        window: Sequence[float] | None = CT_WINDOW,
    ) -> None:
        super().__init__(keys)
        self.head, self.ct, self.maps = head, ct, tuple(maps)
        self.method, self.dimensions = method, dimensions
        self.window = None if window is None else (float(window[0]), float(window[1]))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out, where = dict(data), str(data.get("case", self.head))
        self._require_entries(out, where)
        head, spacing_mm = volume_of(out[self.head]), spacing_of(out[self.head])[: self.dimensions]
        registration = mirror_or_midline(head, spacing_mm, where=where, method=self.method, window=self.window)
        if registration.remark:
            say_once(f"{where}: {registration.remark}")
        flipped = {
            key: apply_mirror(head if key == self.ct else volume_of(out[key]), registration.mirror, spacing_mm)
            for key in self.keys
        }
        # The mirrored CT is masked by the mirrored maps, as SkullStripd masks the CT by its own.
        if self.ct in flipped and self.maps:
            flipped[self.ct] *= sum(flipped[key] for key in self.maps) > 0
        for key, values in flipped.items():
            out[f"{key}_sym"] = convert_to_dst_type(values[None], out[key], dtype=torch.float32)[0]
        return out | {"mirror": _record(registration)}

    def _require_entries(self, data: Mapping[Hashable, Any], where: str) -> None:
        masking = self.maps if self.ct in self.keys else ()
        missing = [str(key) for key in (self.head, *self.keys) if key not in data]
        unmirrored = [key for key in masking if key not in self.keys]
        if missing or unmirrored:
            result = f"not in the entry: {', '.join(missing) or 'none'}; maps that are not among the keys: "
            raise refused("E-SYM-01", where=where, found=result + (", ".join(unmirrored) or "none"))
        shapes = {str(key): tuple(data[key].shape) for key in (self.head, *self.keys)}
        if len(set(shapes.values())) != 1 or len(shapes[self.head]) != 4 or shapes[self.head][0] != 1:
            raise refused("E-SYM-02", where=where, found=", ".join(f"{key} {shape}" for key, shape in shapes.items()))


def _record(registration: Registration) -> dict[str, Any]:
    mirror = registration.mirror
    return {
        "angle_deg": mirror.angle_deg,
        "roll_deg": mirror.roll_deg,
        "offset_mm": mirror.offset_mm,
        "matrix": mirror.matrix.tolist(),
        "shift_mm": mirror.shift_mm.tolist(),
        **{name: value for name, value in vars(registration).items() if name != "mirror"},
    }


class UprightHeadd(MapTransform):
    """Resample a head onto an upright grid with the midline in the middle, so its mirror image is a plain flip.

    Slices are not resampled. In plane each pixel is the mean of four linear samples, half a pixel apart; a mask is
    counted in where it covers half a pixel. The midline is that of ``mirror_or_midline``; front to back the grid's
    middle is that of the brain.

    Shapes: ``(C, H, W, D)`` in, ``(C, *size, D)`` out, float32, the affine follows; ``mirror`` receives the
    registration as ``SymmetricModalitiesd`` has it. ``SourceGridd`` leads back.
    Units: ``pixel_mm`` and the affine in mm; without an affine voxels count as 1 mm.
    Args:
        keys: images, zero where there is nothing; ``label`` among them holds 0 and 1. ``head``, the unstripped CT,
            shows the midline; where there is none, the outline of ``brain`` does.
        size, pixel_mm: of the grid; an even first size has the midline between two pixels.
        method: of ``register_mirror``.
    Raises: ``E-REG-04`` to ``E-REG-06``.

    >>> ct = MetaTensor(torch.from_numpy(tilted[None]), affine=np.diag([0.9, 0.9, 10.0, 1.0]))
    >>> case = UprightHeadd("ct")({"ct": ct, "head": ct, "brain": (ct > 0).float()})
    >>> case["ct"].shape, round(case["mirror"]["angle_deg"])
    (torch.Size([1, 96, 128, 1]), 6)
    """

    def __init__(
        self, keys: KeysCollection, *, size: Sequence[int] = (96, 128), pixel_mm: float = 2.0, method: str = "rigid",
        allow_missing_keys: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(keys, allow_missing_keys)
        self.size, self.pixel_mm, self.method = (int(size[0]), int(size[1])), float(pixel_mm), method

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out, where = dict(data), str(data.get("case", "head"))
        spacing_mm, brain = spacing_of(out["brain"]), volume_of(out["brain"]) > 0
        head = volume_of(out["head"]) if "head" in out else np.where(brain, 40.0, 0.0).astype(np.float32)
        registration = mirror_or_midline(head, spacing_mm[:2], method=self.method, where=where)
        if registration.remark:
            say_once(f"{where}: {registration.remark}")
        place = upright_pixels(registration.mirror, brain, spacing_mm[:2], size=self.size, pixel_mm=self.pixel_mm)
        for key in self.key_iterator(out):
            upright = _at(torch.as_tensor(out[key]).as_subclass(Tensor).float(), place, self.size, halves=2)
            upright = (upright >= 0.5).float() if key == LABEL else upright
            out[key] = _with_affine(upright, out[key], place)
        return out | {"mirror": _record(registration)}


class SourceGridd(MapTransform):
    """Resample a prediction from the grid of ``UprightHeadd`` to the file's grid, linear in plane.

    Shapes: ``(C, h, w, D)`` in, ``(C, H, W, D)`` out, zero beyond the upright grid; an image never laid upright passes
    unchanged.

    >>> brain = MetaTensor(torch.ones(1, 40, 60, 1), affine=np.diag([4.0, 4.0, 10.0, 1.0]))
    >>> upright = UprightHeadd("brain")({"brain": brain})
    >>> upright["brain"].shape, SourceGridd("brain")(upright)["brain"].shape
    (torch.Size([1, 96, 128, 1]), torch.Size([1, 40, 60, 1]))
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            shape = out[key].meta.get("source_shape")
            if shape is not None:
                source = torch.as_tensor(out[key].meta["original_affine"], dtype=torch.float64)
                # From a voxel of the file to a pixel of the upright grid.
                place = torch.linalg.solve(out[key].affine.double(), source).numpy()
                flat = place[np.ix_([0, 1, 3], [0, 1, 3])]
                plain = _at(out[key].as_tensor().float(), flat, (int(shape[0]), int(shape[1])))
                out[key] = MetaTensor(plain, meta={**out[key].meta, "affine": source})
        return out


def upright_pixels(
    mirror: Mirror, brain: np.ndarray, spacing_mm: Sequence[float], *, size: Sequence[int], pixel_mm: float
) -> np.ndarray:
    """Return the matrix (3, 3) from pixels of the upright grid to voxels of the image.

    Shapes: ``brain (H, W, D)`` bool. Units: mm. Source: ours; ``tests/transforms/test_symmetry.py``.
    """
    right = mirror.normal
    front = np.array([-right[1], right[0]])
    grid = Grid.centred(brain.shape[:2], spacing_mm)
    ahead = (grid.points() @ front)[brain.any(2).ravel()]  # extent of the brain along the head's front-back axis
    middle = right * mirror.offset_mm + front * ((ahead.min() + ahead.max()) / 2 if ahead.size else 0.0)
    turned = np.eye(3)
    turned[:2, :2] = pixel_mm * np.stack([right, front], axis=1)
    turned[:2, 2] = middle - turned[:2, :2] @ ((np.array(size) - 1) / 2)  # the grid's middle falls on the brain's
    voxels = np.diag([1 / spacing_mm[0], 1 / spacing_mm[1], 1.0])
    voxels[:2, 2] = (np.array(brain.shape[:2]) - 1) / 2
    return voxels @ turned


def _at(image: Tensor, place: np.ndarray, size: tuple[int, int], halves: int = 1) -> Tensor:
    """Return the image (C, H, W, D) at ``place @ (i, j, 1)``, each pixel the mean of ``halves`` squared samples."""
    parts = [(np.arange(n * halves) + 0.5) / halves - 0.5 for n in size]  # sub-samples of each pixel, averaged below
    i, j = np.meshgrid(*parts, indexing="ij")
    rows, columns = (place[:2] @ np.stack([i.ravel(), j.ravel(), np.ones(i.size)])).reshape(2, *i.shape)
    high = [max(n - 1, 1) for n in image.shape[1:3]]
    # grid_sample counts from -1 to 1, the last axis first.
    unit = np.stack([2 * columns / high[1] - 1, 2 * rows / high[0] - 1], axis=-1)
    slices = image.movedim(-1, 0)
    grid = torch.from_numpy(unit).float().expand(len(slices), -1, -1, -1)
    samples = functional.grid_sample(slices, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return (functional.avg_pool2d(samples, halves) if halves > 1 else samples).movedim(0, -1).contiguous()


def _with_affine(values: Tensor, source: Tensor, place: np.ndarray) -> Tensor:
    """Return the values with the affine that follows ``place`` (3, 3), and the shape to lead back to."""
    if not isinstance(source, MetaTensor):
        return values
    whole = np.eye(4)
    whole[np.ix_([0, 1, 3], [0, 1, 3])] = place
    affine = source.affine.double() @ torch.from_numpy(whole)
    meta = {**source.meta, "original_affine": source.affine, "source_shape": list(source.shape[1:])}
    return MetaTensor(values, meta={**meta, "affine": affine})
