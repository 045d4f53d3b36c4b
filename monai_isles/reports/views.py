"""Hold the content of a page of one case: how its images are shown, in which slices, crop and orientation."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from monai_isles.errors import refused
from monai_isles.io.read import Image
from monai_isles.modalities import MODALITIES, PERFUSION_MAPS

ANATOMY = ("ct", "flair", "t1", "t1c", "t2", "dwi", "adc")
MAPS = ("cbf", "cbv", "mtt", "ttp", "tmax")
DEEP, DEEP_SLICES = 32, 14
MASKS = {
    "core": ("core (threshold)", "#ff4d5e"),
    "hypoperfused": ("hypoperfused (threshold)", "#35c3ff"),
    "lesion": ("predicted lesion", "#ff9a2e"),
}


@dataclass(frozen=True)
class Look:
    """Hold how an image is shown on every page.

    Units: ``window``, shown first, and ``tops``, that a reader can choose, in the unit of the modality; the last of
    ``tops`` is the largest value shown. ``percentile`` of the brain tops the window of a map in another unit.
    """

    title: str
    window: tuple[float, float]
    colours: str = ""
    percentile: float = 100.0
    tops: tuple[float, ...] = ()

    @property
    def span(self) -> tuple[float, float]:
        """Return the values that the viewers tell apart: up to the last of ``tops``, of a CT -40 to 214 HU."""
        return (0.0, self.tops[-1]) if self.tops else (-40.0, 214.0)


LOOKS = {
    "ct": Look("CT", (0.0, 80.0)),
    "cbf": Look("CBF", (0.0, 80.0), "turbo", 95.0, (40.0, 60.0, 80.0, 120.0)),
    "cbv": Look("CBV", (0.0, 6.0), "turbo", 95.0, (3.0, 6.0, 12.0)),
    "mtt": Look("MTT", (0.0, 12.0), "turbo", 99.0, (6.0, 12.0, 20.0)),
    "tmax": Look("Tmax", (0.0, 12.0), "turbo", 99.0, (6.0, 12.0, 20.0)),
    "ttp": Look("TTP", (0.0, 40.0), "turbo", 99.0, (20.0, 40.0, 60.0)),
}
SYNTHETIC = {"pseudo_dwi": "synthetic pseudo-DWI,\nnot an acquisition"}


@dataclass(frozen=True)
class CaseView:
    """Hold one case to draw: a prediction, and the measurements of its series, if any.

    Shapes: every array (H, W, D), RAS+, on one grid; ``affine`` (4, 4) of it.
    Units: ``images`` in the unit of their modality, ``probability`` 0 to 1, ``spacing_mm`` in mm.
    Args:
        images: array by modality key, all of them drawn.
        scores: the case's row of ``per_case.csv``, None without a reference.
        synthetic: array by name of ``SYNTHETIC``: images that a network made.
        masks: by name of ``MASKS``, beside the lesion; a case that has some is shown slice by slice in a viewer.
        record: content of ``perfusion.json``: the curves of artery and vein, their voxels, the movement of the head.
        series: label to text: how the series was acquired and read.
        patient: label to text, only on the user's request.
    """

    name: str
    images: Mapping[str, np.ndarray]
    spacing_mm: Sequence[float]
    probability: np.ndarray | None
    uncertainty: np.ndarray | None
    lesion: np.ndarray
    truth: np.ndarray | None = None
    scores: Mapping[str, Any] | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False
    synthetic: Mapping[str, np.ndarray] = field(default_factory=dict)
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)
    patient: Mapping[str, str] = field(default_factory=dict)
    affine: np.ndarray | None = None

    def __post_init__(self) -> None:
        shapes = {key: np.shape(array) for key, array in self.arrays().items()}
        if len(set(shapes.values())) > 1 or len(np.shape(self.lesion)) != 3:
            listed = ", ".join(f"{key} {' x '.join(map(str, shape))}" for key, shape in shapes.items())
            raise refused("E-REP-06", where=self.name, found=listed)

    @classmethod
    def of(cls, name: str, arrays: Mapping[str, np.ndarray], like: Image, **about: Any) -> CaseView:
        """Return a case with each array where its name belongs, on the grid of ``like``; ``about`` are other fields."""
        measured = [key for key in MASKS if key != "lesion"]
        groups: dict[str, Container[str]] = {"images": MODALITIES, "synthetic": SYNTHETIC, "masks": measured}
        about |= {group: {key: arrays[key] for key in arrays if key in keys} for group, keys in groups.items()}
        about |= {key: arrays.get(key) for key in ("probability", "uncertainty")}
        truth = arrays["truth"] > 0 if "truth" in arrays else None
        about |= {"spacing_mm": like.spacing_mm, "affine": like.affine, "lesion": arrays["lesion"] > 0, "truth": truth}
        return cls(name, **about)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every available array of the case by name."""
        others = {key: getattr(self, key) for key in ("probability", "uncertainty", "lesion", "truth")}
        available = {key: array for key, array in others.items() if array is not None}
        return {**self.images, **self.synthetic, **self.masks, **available}

    @cached_property
    def brain(self) -> np.ndarray:
        """Return the mask where any perfusion map is above 0, else where any MR image is, else everywhere."""
        keys = [key for key in PERFUSION_MAPS if key in self.images] or [k for k in ANATOMY[1:] if k in self.images]
        return np.any([self.images[key] > 0 for key in keys], axis=0) if keys else np.ones(self.lesion.shape, bool)

    @cached_property
    def head(self) -> np.ndarray:
        """Return the mask of the head: maps above 0, else CT above -300 HU, else MR above a tenth of its bright end."""
        if any(key in self.images for key in PERFUSION_MAPS):
            return self.brain
        if "ct" in self.images:
            return (self.images["ct"] > -300.0) & (self.images["ct"] != 0)
        inside = np.zeros(self.lesion.shape, bool)
        for image in (self.images[key] for key in ANATOMY if key in self.images):
            if (bright := image > 0).any():
                inside |= image > 0.1 * np.percentile(image[bright], 99)
        return inside

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """Return the in-plane box around the head, 12 mm wider on each side; the whole plane without one."""
        inside = np.any(self.head, axis=2)
        seen = ndimage.find_objects(inside.view(np.int8)) or [tuple(map(slice, (0, 0), inside.shape))]
        margins = [int(np.ceil(12.0 / mm)) for mm in self.spacing_mm[:2]]
        ends = zip(seen[0], margins, inside.shape, strict=True)
        h, w = (slice(max(0, part.start - margin), min(size, part.stop + margin)) for part, margin, size in ends)
        return h, w

    def chosen_slices(self, most: int) -> list[int]:
        """Return up to ``most`` slices, lowest first: spread over the lesion, the largest section among them.

        Without lesion on either side the slices with the highest probability stand in, without that the middle one.
        """
        marked = self.lesion.astype(bool) if self.truth is None else self.lesion.astype(bool) | self.truth.astype(bool)
        areas = marked.sum(axis=(0, 1))
        result = np.flatnonzero(areas)
        if not result.size and self.probability is not None and self.probability.any():
            areas = self.probability.max(axis=(0, 1))
            result = np.sort(np.argsort(-areas, kind="stable")[: min(most, 2)])
        if not result.size:
            return [self.lesion.shape[2] // 2]
        if result.size <= most:
            return result.tolist()
        spread = result[((np.arange(most) + 0.5) * result.size / most).astype(int)]
        largest = result[np.argmax(areas[result])]
        spread[np.argmin(np.abs(spread - largest))] = largest
        return spread.tolist()

    def shown_slices(self, most: int) -> list[int]:
        """Return ``chosen_slices``; of more than 32 slices always 14, the rest spread evenly over the head."""
        if self.lesion.shape[2] <= DEEP:
            return self.chosen_slices(most)
        marked = any(array is not None and array.any() for array in (self.lesion, self.truth, self.probability))
        chosen = self.chosen_slices(DEEP_SLICES) if marked else []
        result = np.flatnonzero(self.head.any(axis=(0, 1)))
        ends = [int(result[0]), int(result[-1])] if result.size else [0, self.lesion.shape[2] - 1]
        first, last = min(ends + chosen), max(ends + chosen)
        while len(chosen) < min(DEEP_SLICES, last - first + 1):
            edges = [first - 1, *chosen, last + 1]
            widest = int(np.argmax(np.diff(edges)))
            chosen = sorted([*chosen, (edges[widest] + edges[widest + 1]) // 2])
        return chosen

    @property
    def aspect(self) -> float:
        """Return the height of a pixel on the screen by its width."""
        return float(self.spacing_mm[1]) / float(self.spacing_mm[0])

    @property
    def to_mm(self) -> np.ndarray:
        """Return the affine (4, 4) from voxels to mm; without one the first voxel lies at 0 mm."""
        return np.diag([*self.spacing_mm, 1.0]) if self.affine is None else np.asarray(self.affine, float)


def even_indices(count: int, most: int) -> list[int]:
    """Return up to ``most`` of ``count`` indices, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def on_screen(volume: np.ndarray, k: int, box: tuple[slice, slice]) -> np.ndarray:
    """Return slice ``k`` (rows, columns) as the radiologist sees it: front up, the patient's right on the left."""
    return volume[box[0], box[1], k][::-1, ::-1].T
