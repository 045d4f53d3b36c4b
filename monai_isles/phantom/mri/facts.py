"""Facts about ISLES 2015: grids, file names and lesion volumes of its two MRI tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from monai_isles.errors import refused
from monai_isles.phantom.atlas import TABLES

_STEP = 0.7548776662466927  # the plastic number's: successive subjects cover all sizes evenly


@dataclass(frozen=True)
class MriKind:
    """Describe one task of ISLES 2015.

    Units: mm; ``volumes_ml`` are lesion volumes (SISS) or core volumes (SPES) at evenly spaced quantiles.

    Args:
        files: file key of every modality, in the release's spelling.
        label_file, first_id: name of the label's folder up to its number, and the first number.
        labels: meaning of the label's values.
        room_mm: largest shift of the head.
        stream: offset of the random streams, so that the two tasks share no subject.
    """

    name: str
    shape: Sequence[int]
    spacing_mm: float
    files: dict[str, str]
    label_file: str
    first_id: int
    labels: str
    room_mm: float
    volumes_ml: Sequence[float]
    stream: int

    def grid(self, spacing_mm: float | None = None) -> tuple[tuple[int, int, int], float]:
        """Return shape and spacing of the same field of view at ``spacing_mm``, by default the release's own."""
        spacing = float(spacing_mm or self.spacing_mm)
        if not self.spacing_mm <= spacing <= 8.0:
            result = f"spacing {spacing:g} mm"
            raise refused("E-PHAN-07", where=f"phantom of kind {self.name}", found=result, spacing_mm=self.spacing_mm)
        height, width, depth = (ceil(n * self.spacing_mm / spacing - 1e-6) for n in self.shape)
        return (height, width, depth), spacing


MRI_KINDS = {name: MriKind(name, **facts) for name, facts in TABLES["mri"].items()}
SISS, SPES = MRI_KINDS["siss"], MRI_KINDS["spes"]


def volume_of(kind: MriKind, index: int, *, seed: int) -> float:
    """Return the lesion (SISS) or core (SPES) volume in ml of subject ``index``; successive subjects cover all sizes.

    Source: sizes named by the challenge (1 to some 300 ml, skewed), Maier et al., Med Image Anal 2017,
    doi:10.1016/j.media.2016.07.009.
    """
    start = float(np.random.default_rng([seed, kind.stream, 3]).random())
    place = (start + _STEP * (index + 1)) % 1.0
    # Between the quantiles on the scale of log(volume): the sizes are skewed.
    return float(np.exp(np.interp(place, np.linspace(0, 1, len(kind.volumes_ml)), np.log(kind.volumes_ml))))
