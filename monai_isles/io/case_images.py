"""Read the images of a case, and judge its perfusion maps together and beside the CT."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from monai_isles.io.findings import WARNING, Finding, finding, refuse
from monai_isles.io.read import Image, inspect_image
from monai_isles.io.values import (
    CROSS,
    FEW_VOXELS,
    INFINITE,
    MAX_NEGATIVE_SHARE,
    NAN,
    NEGATIVE,
    TISSUE_HU,
    negative_findings,
    tissue_finding,
)
from monai_isles.modalities import LABEL, MODALITIES

_MOST_IN_SKULL = 0.2  # where a map has no mask, noise about 0 in ventricles and sulci is half negative
_APART_MM, _LEAST_SHARED, _LEAST_BURNT = 4.0, 0.2, 0.005
_LARGEST_CM2, _LARGEST_ML = 240.0, 2000.0
_BONE_HU, _CLOSED_MM, _LEAST_INTERIOR, _LEAST_BONE, _SOFT_HU = 150.0, 3.0, 0.2, 0.01, (-20.0, 110.0)


def read_case_images(
    files: Mapping[str, str | Path], *, case: str, label_values: Sequence[int] | None = None
) -> dict[str, Image]:
    """Read the images of one case, each checked by the modality that its key names, then ``settle_case``.

    Raises: those of ``read_image``.
    """
    images = {}
    for key, path in files.items():
        kind = key if key in MODALITIES or key == LABEL else None
        image, found = inspect_image(path, kind=kind, where=case, label_values=label_values)
        refuse(as_in_case(found, key, image, files))
        assert image is not None  # there is one where nothing was refused
        images[key] = image
    images, found = settle_case(images, case=case)
    refuse(found)
    return images


def as_in_case(findings: Sequence[Finding], key: str, image: Image | None, others: Collection[str]) -> list[Finding]:
    """Return the findings about one image as they hold beside the others: ``settle_case`` counts negative voxels.

    Without a CT the scale of CBF and CBV is remarked: those of MR have none, and what reads them takes ratios.
    """
    free = key in ("cbf", "cbv") and {"ct", "ctp"}.isdisjoint(others)
    free = free and image is not None and image.data.max(initial=0) <= MODALITIES["dwi"].highest
    return [
        replace(item, severity=WARNING) if free and item.code == "E-VAL-05" else item
        for item in findings
        if item.code != "E-VAL-06"
    ]


def settle_case(images: Mapping[str, Image], *, case: str) -> tuple[dict[str, Image], list[Finding]]:
    """Return the images of a case, maps masked by the CT, and the findings about the maps together."""
    masked, remarks = mask_by_ct(images, case=case)
    most = _MOST_IN_SKULL if remarks else MAX_NEGATIVE_SHARE
    lost = unmeasured_findings(masked, case=case, most_negative=most)
    return masked, remarks + lost + noise_findings(masked, case=case) + head_findings(masked, case=case)


def unmeasured_findings(
    images: Mapping[str, Image], *, case: str, most_negative: float = MAX_NEGATIVE_SHARE
) -> list[Finding]:
    """Return an error for each map without numbers where the other maps have brain, or with many negative ones.

    A voxel counts as measured brain where no other map is 0, there and at its four neighbours in the slice: maps of one
    scan may end a voxel apart, and a transit time is no number where there is no flow. A map without
    one beside it must not lack a number inside its own brain.
    """
    maps = {key: image for key, image in images.items() if key in MODALITIES and MODALITIES[key].perfusion_map}
    findings = []
    for key, image in maps.items():
        if image.unmeasured is None:
            continue
        where = f"{case}: {image.path}"
        findings += negative_findings(
            image.data, image.unmeasured == NEGATIVE, MODALITIES[key], where, most=most_negative
        )
        others = [other.data != 0 for name, other in maps.items() if name != key and other.on_grid_of(image)]
        if others:
            inside = ndimage.binary_erosion(np.all(others, axis=0), CROSS, border_value=1)
        else:
            inside = ndimage.binary_fill_holes(image.data != 0, CROSS)
        if lost := int(np.count_nonzero((image.unmeasured & (NAN | INFINITE)) * inside)):
            findings.append(tissue_finding(image.unmeasured, lost, where))
    return findings


def noise_findings(images: Mapping[str, Image], *, case: str) -> list[Finding]:
    """Return a remark if the flow at places 4 mm apart is hardly correlated, as in noise."""
    image = images.get("cbf")
    if image is None or image.data.ndim != 3 or np.count_nonzero(brain := image.data > 0) < FEW_VOXELS:
        return []
    flow = np.minimum(image.data, np.percentile(image.data[brain], 99))  # vessels are alike anywhere
    shared = []
    for axis, mm in enumerate(image.spacing_mm[:2]):
        step, values, inside = max(1, round(_APART_MM / mm)), np.swapaxes(flow, 0, axis), np.swapaxes(brain, 0, axis)
        both = inside[step:] & inside[:-step]
        with np.errstate(invalid="ignore"):  # NaN of equal values is no noise
            shared.append(np.corrcoef(values[step:][both], values[:-step][both])[0, 1] if both.sum() > 1 else 1.0)
    if not np.mean(shared) < _LEAST_SHARED:
        return []
    text = f"flow of places {_APART_MM:g} mm apart correlates by {np.mean(shared):.2f}"
    return [finding("E-VAL-19", WARNING, where=case, found=f"{text}; {_LEAST_SHARED:g} or more expected")]


def head_findings(images: Mapping[str, Image], *, case: str) -> list[Finding]:
    """Return a remark if MRI, or maps without a CT, have values in more than a brain: in scalp, skull or air.

    Their voxels above 0 are read as brain. The bounds are ours: those of the largest adult brains.
    """
    if not {"ct", "ctp"}.isdisjoint(images):
        return []
    for key, image in images.items():
        if key in MODALITIES and image.data.ndim == 3 and image.data.size >= FEW_VOXELS:
            areas = np.count_nonzero(image.data > 0, axis=(0, 1)) * np.prod(image.spacing_mm[:2]) / 100
            ml = areas.sum() * image.spacing_mm[2] / 10
            if areas.max() > _LARGEST_CM2 or ml > _LARGEST_ML:
                text = f"{key}: values above 0 in up to {areas.max():.0f} cm2 of a slice, {ml:.0f} ml"
                return [finding("E-VAL-22", WARNING, where=case, found=text)]
    return []


def mask_by_ct(images: Mapping[str, Image], *, case: str) -> tuple[dict[str, Image], list[Finding]]:
    """Set maps to 0 outside the skull of the CT, with a remark, if they cover most bone (or air without).

    Else noise, or a smoothed edge, is ischemic brain. In a skull with a gap above 6 mm soft tissue is kept instead.
    Parts of the maps that lie in the air beside the head (a colour bar or a text burnt in) are set to 0 too.
    """
    ct, maps = images.get("ct"), {k: i for k, i in images.items() if k in MODALITIES and MODALITIES[k].perfusion_map}
    maps = {key: image for key, image in maps.items() if ct is not None and image.on_grid_of(ct)}
    if ct is None or not maps or ct.data.size < FEW_VOXELS:
        return dict(images), []
    dead = bone if (bone := ct.data > -TISSUE_HU).mean() > _LEAST_BONE else ct.data < TISSUE_HU
    below = [image.unmeasured == NEGATIVE for image in maps.values() if image.unmeasured is not None]
    covered = np.any([*below, *(image.data > 0 for image in maps.values())], axis=0)
    outside = np.count_nonzero(dead & covered)
    if outside > 0.5 * np.count_nonzero(dead):
        brain = _inside_skull(ct)
    else:
        # A slice of air alone shows no head: there the CT may end before the maps do.
        dead = (ct.data < TISSUE_HU) & (ct.data > TISSUE_HU).any((0, 1))
        parts, _ = ndimage.label(covered, np.ones((3, 3, 3)))
        brain = (np.bincount(parts.ravel(), 0.5 - dead.ravel()) >= 0)[parts] | ~covered  # at most half of a part in air
        outside, held = np.count_nonzero(~brain), np.count_nonzero(covered)
        if outside <= _LEAST_BURNT * held or outside > 0.5 * held:  # most of the maps is no text: the CT lies elsewhere
            return dict(images), []
    text = f"values in {outside} of {np.count_nonzero(dead)} voxels of {'bone' if dead is bone else 'air'}"
    masked = dict(images)
    for key, image in maps.items():
        lost = image.unmeasured
        masked[key] = replace(image, data=image.data * brain, unmeasured=None if lost is None else lost * brain)
    return masked, [finding("E-VAL-20", WARNING, where=case, found=text)]


def _inside_skull(ct: Image) -> np.ndarray:
    """Return the inside of the closed bone in each slice, or soft tissue where the bone does not close."""
    brain, steps = np.zeros(ct.data.shape, bool), max(1, round(_CLOSED_MM / min(ct.spacing_mm[:2])))
    for level, image in enumerate(np.moveaxis(ct.data, 2, 0)):
        skull = ndimage.binary_closing(np.pad(image > _BONE_HU, steps), iterations=steps)
        inside = ndimage.binary_fill_holes(skull)[steps:-steps, steps:-steps] & (image <= _BONE_HU)
        closed = inside.sum() >= _LEAST_INTERIOR * np.count_nonzero(image > TISSUE_HU)
        brain[..., level] = inside if closed else (image > _SOFT_HU[0]) & (image < _SOFT_HU[1])
    return brain
