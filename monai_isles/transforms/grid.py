"""Require that all images of a case share one grid, or resample them onto it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import BorderPad, MapTransform, ResampleToMatch
from torch import Tensor

from monai_isles.case import RESAMPLE
from monai_isles.errors import refused
from monai_isles.io.grid import corners_apart_mm, corners_vox, on_one_grid, require_one_grid
from monai_isles.io.read import Image
from monai_isles.io.values import AIR_HU
from monai_isles.modalities import LABEL, MEASURED_MAPS

OWN_FILE = "own_file"
_GRID = ("affine", "original_affine", "spatial_shape", "space", "native_affine", "native_shape", "filename_or_obj")


class ResampleLiked(MapTransform):
    """Resample images on another grid than the first of the keys, on request or within one frame of reference.

    The request is ``allow``, or the entry's own ``resample`` (``case.yml``, data list, ``--resample``). One frame of
    reference means the same non-empty ``frame_of_reference`` in the metadata of both (DICOM Frame of Reference UID).
    Interpolation is linear, nearest for ``label``, 0 outside, air for ``ct`` and ``ctp``. In perfusion maps 0 marks
    voxels without measurement, which are left out of the interpolation. Images on the reference grid are not changed. A
    resampled image takes over the reference's metadata of grid and file, so that results are written on that grid; its
    own file stays under ``own_file``.

    Shapes: ``(C, H, W, D)`` MetaTensors; results have the spatial shape and affine of the first.

    Args:
        allow: resample without a request in the entry.
        refuse: False leaves an image on another grid unchanged without a request, for ``SameGridd`` to refuse.

    Raises: ``E-GRID-02`` another grid without a request, ``E-GRID-03`` no overlap at all, ``E-GRID-04`` an image
    without affine.

    Source: ours, around MONAI's ResampleToMatch; ``tests/transforms/test_resample_like.py``.

    >>> coarse = MetaTensor(torch.ones(1, 2, 2, 2), affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> fine = MetaTensor(torch.ones(1, 4, 4, 4), affine=np.eye(4))
    >>> ResampleLiked(["ct", "cbf"], allow=True)({"ct": coarse, "cbf": fine})["cbf"].shape
    torch.Size([1, 2, 2, 2])
    """

    def __init__(
        self, keys: KeysCollection, allow: bool = False, allow_missing_keys: bool = False, refuse: bool = True
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.allow, self.refuse = allow, refuse

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, case = dict(data), str(data.get("case", "this entry"))
        like = next(iter(self.key_iterator(out)), None)
        if like is None or not (self.refuse or isinstance(out[like], MetaTensor)):
            return out
        reference = _require_affine(out[like], f"{case}: {like}")
        wanted = _grid_of(reference)
        for key in self.key_iterator(out):
            if key == like or not (self.refuse or isinstance(out[key], MetaTensor)):
                continue
            image, where = _require_affine(out[key], f"{case}: {key}"), f"{case}: {key} against {like}"
            grid = _grid_of(image)
            if on_one_grid(*wanted, *grid):
                continue
            frames = [str(item.meta.get("frame_of_reference", "")) for item in (image, reference)]
            if self.allow or out.get(RESAMPLE) is True or (frames[0] and frames[0] == frames[1]):
                out[key] = _move(str(key), image, reference, where)
            elif self.refuse:
                shapes = " against ".join(" x ".join(map(str, shape)) for _, shape in (grid, wanted))
                result = f"field-of-view corners {corners_apart_mm(*grid, *wanted):.4g} mm apart, {shapes} voxels"
                raise refused("E-GRID-02", where=where, found=result)
        return out


def _move(key: str, image: MetaTensor, reference: MetaTensor, where: str) -> MetaTensor:
    """Return the image on the reference grid; what lies outside it, and 0 in a map, is not interpolated."""
    grids = (_grid_of(item) for item in (image, reference))
    corners = [(affine @ corners_vox(shape))[:3] for affine, shape in grids]
    (low, high), (first, last) = ((item.min(axis=1), item.max(axis=1)) for item in corners)
    gap = np.maximum(low - last, first - high)
    if (gap >= 0).any():
        raise refused("E-GRID-03", where=where, found=f"{gap.max():.4g} mm between them")
    resample = ResampleToMatch(mode="nearest" if key == LABEL else "bilinear", padding_mode="zeros", align_corners=True)
    # torch reads the only voxel of an axis at every place, and writes it half a voxel off: neither has such an axis.
    edges = [[int(size == 1) for size in item.shape[1:]] for item in (image, reference)]
    pad, like = BorderPad(edges[0]), BorderPad(edges[1])(reference)
    inner = [slice(edge, edge + size) for edge, size in zip(edges[1], reference.shape[1:], strict=True)]

    def move(values: Tensor) -> Tensor:
        return torch.as_tensor(resample(pad(values), like)).as_subclass(Tensor)[:, *inner]

    outside = AIR_HU if key in ("ct", "ctp") else 0  # 0 HU is water, which would count as head
    held = (image.as_tensor()[:1] != 0) | (key not in MEASURED_MAPS)
    moved, share = move(image - outside), move(MetaTensor(held.float(), affine=image.affine))
    moved = torch.where(share >= 0.5, moved / share.clamp_min(0.5), 0.0)
    grid = {name: reference.meta[name] for name in _GRID if name in reference.meta}
    own = {OWN_FILE: image.meta.get("filename_or_obj", "")}  # it states the times of a series
    return MetaTensor((moved + outside).to(image.dtype), meta={**image.meta, **own, **grid})


def onto_first(images: Mapping[str, Image], *, case: str) -> dict[str, Image]:
    """Return the images, those on another grid than the first one's resampled onto it, as the caller requests."""
    entry: dict[Hashable, Any] = {"case": case}
    for key, image in images.items():
        entry[key] = MetaTensor(torch.from_numpy(image.data[None]), affine=torch.as_tensor(image.affine))
    moved = ResampleLiked(list(images), allow=True)(entry)
    first = next(iter(images.values()))
    grid = {name: getattr(first, name) for name in ("affine", "spacing_mm", "native_affine", "native_shape")}
    return {
        key: image if moved[key] is entry[key] else replace(image, data=moved[key][0].numpy(), **grid)
        for key, image in images.items()
    }


def _require_affine(image: Tensor, where: str) -> MetaTensor:
    if not isinstance(image, MetaTensor):
        raise refused("E-GRID-04", where=where, found="a tensor without affine")
    return image


def _grid_of(image: MetaTensor) -> tuple[np.ndarray, tuple[int, ...]]:
    return np.asarray(image.affine, float), tuple(image.shape[1:])


class SameGridd(MapTransform):
    """Return a case unchanged if all its images lie on one grid; refuse it otherwise.

    Shapes: every entry ``(C, H, W, D)`` with an affine. Units: affines in mm.

    Raises: ``E-GEOM-03`` and ``E-GEOM-04`` from ``monai_isles.io``; ``E-GRID-01`` for an image without affine.

    >>> image = MetaTensor(torch.ones(1, 4, 4, 4), affine=np.eye(4))
    >>> sorted(SameGridd(["ct", "cbf"])({"ct": image, "cbf": image}))
    ['cbf', 'ct']
    """

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, case = dict(data), str(data.get("case", "this entry"))
        images: dict[str, Any] = {str(key): out[key] for key in self.key_iterator(out)}
        bare = [key for key, image in images.items() if not isinstance(image, MetaTensor)]
        if bare:
            raise refused("E-GRID-01", where=f"{case}: {', '.join(bare)}", found="a tensor without affine")
        grids = {key: _grid_of(image) for key, image in images.items()}
        files = {key: str(image.meta.get("filename_or_obj", key)) for key, image in images.items()}
        require_one_grid(grids, case=case, files=files)
        return out
