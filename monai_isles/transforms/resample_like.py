"""Bring images onto the reference grid, only where somebody has said that this is right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import product

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, ResampleToMatch
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.io.grid import TOLERANCE_VOX, displacement
from monai_isles.modalities import LABEL

FRAME = "frame_of_reference"
ASKED = "resample"


class ResampleLiked(MapTransform):
    """Resample images whose grid differs from the reference's, when asked or when one frame of reference vouches.

    Asked: ``allow``, or the entry's own ``resample`` (``case.yml``). One frame of reference: the same non-empty
    ``frame_of_reference`` in the meta data of both (DICOM Frame of Reference UID). Linear; nearest for ``label``; 0
    outside. Images on the reference grid pass unchanged.

    Shapes: ``(C, H, W, D)`` MetaTensors; results have the spatial shape and affine of ``like``.

    Args:
        keys: images to bring over.
        like: the entry whose grid is the reference.
        allow: resample without being asked by the entry.

    Raises:
        IslesError: ``E-GRID-02`` another grid and nobody asked, ``E-GRID-03`` no overlap at all, ``E-GRID-04`` an image
            without affine.

    Source: ours, around MONAI's ResampleToMatch; ``tests/transforms/test_resample_like.py``.
    """

    def __init__(self, keys: KeysCollection, like: str, allow: bool = False, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.like, self.allow = like, allow

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, case = dict(data), str(data.get("case", "this entry"))
        reference = _placed(out[self.like], f"{case}: {self.like}")
        for key in self.key_iterator(out):
            if key == self.like:
                continue
            image, where = _placed(out[key], f"{case}: {key}"), f"{case}: {key} against {self.like}"
            if _same(image, reference):
                continue
            frames = [str(one.meta.get(FRAME, "")) for one in (image, reference)]
            if not (self.allow or out.get(ASKED) is True or (frames[0] and frames[0] == frames[1])):
                raise _not_asked(image, reference, where)
            _require_overlap(image, reference, where)
            mode = "nearest" if key == LABEL else "bilinear"
            moved = ResampleToMatch(mode=mode, padding_mode="zeros", align_corners=True)(image, reference)
            if moved.shape[1:] == reference.shape[1:]:
                moved.affine = reference.affine.clone()
            out[key] = moved.to(image.dtype)
        return out


def _placed(image: Tensor, where: str) -> MetaTensor:
    if not isinstance(image, MetaTensor):
        raise IslesError(
            "E-GRID-04",
            "an image has lost its place in space",
            where=where,
            found="a tensor without affine",
            fix="keep track_meta on until ResampleLiked has passed",
        )
    return image


def _affine(image: MetaTensor) -> np.ndarray:
    return np.asarray(image.affine.to(torch.float64))


def _same(image: MetaTensor, reference: MetaTensor) -> bool:
    shape = tuple(image.shape[1:])
    near = displacement(_affine(reference), _affine(image), shape).vox <= TOLERANCE_VOX
    return shape == tuple(reference.shape[1:]) and near


def _corners_mm(image: MetaTensor) -> np.ndarray:
    corners = np.array([(*c, 1.0) for c in product(*((-0.5, n - 0.5) for n in image.shape[1:]))])
    return (corners @ _affine(image).T)[:, :3]


def _not_asked(image: MetaTensor, reference: MetaTensor, where: str) -> IslesError:
    gap = float(np.linalg.norm(_corners_mm(image) - _corners_mm(reference), axis=1).max())
    shapes = " against ".join(" x ".join(map(str, one.shape[1:])) for one in (image, reference))
    return IslesError(
        "E-GRID-02",
        "images are not on the same grid",
        where=where,
        found=f"field-of-view corners {gap:.4g} mm apart, {shapes} voxels",
        fix="register them first; or, where they are in register, ask for it: resample: true in case.yml",
    )


def _require_overlap(image: MetaTensor, reference: MetaTensor, where: str) -> None:
    ends = [(_corners_mm(one).min(axis=0), _corners_mm(one).max(axis=0)) for one in (image, reference)]
    gap = np.maximum(ends[0][0] - ends[1][1], ends[1][0] - ends[0][1])
    if (gap >= 0).any():
        raise IslesError(
            "E-GRID-03",
            "fields of view do not overlap",
            where=where,
            found=f"{gap.max():.4g} mm between them",
            fix="check that these images are of one scan, and their frame of reference",
        )
