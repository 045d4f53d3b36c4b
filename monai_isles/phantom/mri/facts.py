"""Facts about ISLES 2015: grids, file names and lesion volumes of its two MRI tasks."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from monai_isles.errors import refused

_STEPS = (0.7548776662466927, 0.5698402909980532)


@dataclass(frozen=True)
class MriKind:
    """Describe one task of ISLES 2015.

    Units: mm; ``volumes_ml`` are lesion volumes (SISS) or core volumes (SPES) at evenly spaced quantiles.

    Args:
        files: file key of every modality, in the release's spelling.
        label_file: name of the label's folder up to its number.
        stream: offset of the random streams, so that the two tasks share no subject.
    """

    name: str
    shape: tuple[int, int, int]
    spacing_mm: float
    files: dict[str, str]
    label_file: str
    volumes_ml: tuple[float, ...]
    stream: int

    def grid(self, spacing_mm: float | None = None) -> tuple[tuple[int, int, int], float]:
        """Return shape and spacing of the same field of view at ``spacing_mm``, by default the release's own."""
        spacing = float(spacing_mm or self.spacing_mm)
        if not self.spacing_mm <= spacing <= 8.0:
            raise refused(
                "E-PHAN-07",
                where=f"phantom of kind {self.name}",
                found=f"spacing {spacing:g} mm",
                spacing_mm=self.spacing_mm,
            )
        height, width, depth = (ceil(n * self.spacing_mm / spacing - 1e-6) for n in self.shape)
        return (height, width, depth), spacing


SISS = MriKind(
    name="siss",
    shape=(230, 230, 153),
    spacing_mm=1.0,
    files={"t1": "MR_T1", "t2": "MR_T2", "flair": "MR_Flair", "dwi": "MR_DWI"},
    label_file="VSD.Brain_3more.XX.O.OT",
    volumes_ml=(1.0, 3.0, 6.0, 10.0, 17.0, 30.0, 55.0, 110.0, 230.0),
    stream=20,
)
SPES = MriKind(
    name="spes",
    shape=(96, 110, 71),
    spacing_mm=2.0,
    files={
        "t1c": "MR_T1c",
        "t2": "MR_T2",
        "dwi": "MR_DWI",
        "cbf": "MR_CBF",
        "cbv": "MR_CBV",
        "ttp": "MR_TTP",
        "tmax": "MR_Tmax",
    },
    label_file="VSD.Brain_2more.XX.O.OT",
    volumes_ml=(2.0, 5.0, 9.0, 14.0, 20.0, 30.0, 45.0, 70.0, 130.0),
    stream=40,
)
MRI_KINDS = {kind.name: kind for kind in (SISS, SPES)}


def volume_of(kind: MriKind, index: int, *, seed: int) -> float:
    """Return the lesion (SISS) or core (SPES) volume in ml of subject ``index``; successive subjects cover all sizes.

    Source: sizes named by the challenge (1 to some 300 ml, skewed), Maier et al., Med Image Anal 2017,
    doi:10.1016/j.media.2016.07.009; ``tests/phantom/mri/test_facts.py``.
    """
    start = float(np.random.default_rng([seed, kind.stream, 3]).random())
    place = (start + _STEPS[0] * (index + 1)) % 1.0
    return float(np.exp(np.interp(place, np.linspace(0, 1, len(kind.volumes_ml)), np.log(kind.volumes_ml))))
