"""Hold the content of a page of one case, and how its images are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from monai_isles.errors import refused
from monai_isles.reports.slices import head_box

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

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every available array of the case by name."""
        others = {key: getattr(self, key) for key in ("probability", "uncertainty", "lesion", "truth")}
        available = {key: array for key, array in others.items() if array is not None}
        return {**self.images, **self.synthetic, **self.masks, **available}

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """Return the in-plane box around the head."""
        return head_box(self.images, self.lesion.shape, self.spacing_mm)

    @property
    def aspect(self) -> float:
        """Return the height of a pixel on the screen by its width."""
        return float(self.spacing_mm[1]) / float(self.spacing_mm[0])

    @property
    def to_mm(self) -> np.ndarray:
        """Return the affine (4, 4) from voxels to mm; without one the first voxel lies at 0 mm."""
        return np.diag([*self.spacing_mm, 1.0]) if self.affine is None else np.asarray(self.affine, float)
