"""The distribution of scans and lesion volumes in the ISLES 2018 training release, as small tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# (slices, frames, scans of 94)
SCANS = (
    (2, 46, 29),
    (2, 43, 15),
    (2, 49, 5),
    (2, 45, 2),
    (4, 43, 11),
    (4, 44, 8),
    (8, 49, 9),
    (16, 53, 9),
    (16, 64, 4),
    (22, 61, 2),
)
# lesion volume in ml at the quantiles 0, 1/8 ... 1, by number of slices
_LESION_ML = {
    2: (0.8, 3.9, 6.2, 10.0, 14.8, 29.0, 48.0, 66.0, 98.6),
    4: (2.4, 3.9, 7.5, 15.9, 17.4, 27.1, 34.7, 39.6, 41.8),
    8: (3.3, 4.3, 6.5, 7.1, 9.4, 11.5, 20.0, 30.0, 54.2),
    16: (4.7, 14.0, 18.0, 35.0, 51.2, 54.4, 90.0, 130.0, 259.5),
    22: (1.8, 2.5, 3.5, 4.8, 6.0, 7.5, 9.0, 10.2, 11.4),
}
_SPACING_MM = {2: (10.0, 12.0), 4: (8.0, 10.0), 8: (5.0, 8.0, 10.0), 16: (5.0, 6.0), 22: (4.0, 5.0)}
_STEP_S = {43: 1.3, 44: 1.2, 45: 1.0, 46: 1.0, 49: 1.0, 53: 1.5, 61: 1.0, 64: 1.5}
_SECOND_SLAB = {2: 0.55, 4: 0.5, 8: 0.2}
# the plastic number: steps that fill a plane evenly, so that few subjects already show the whole distribution
_STEPS = (0.7548776662466927, 0.5698402909980532)


@dataclass(frozen=True)
class Protocol:
    """Say how one subject is scanned and how large the lesion on it is to be.

    Units: mm, s, ml a slab.
    """

    slices: int
    frames: int
    dt_s: float
    spacing_mm: tuple[float, float, float]
    slabs: int
    lesion_ml: float


def protocol_of(index: int, *, seed: int) -> Protocol:
    """Draw the protocol of subject ``index``; the draws of successive subjects cover the release's distribution evenly.

    Source: ISLES 2018 training release, as tabled above; ``tests/phantom/ct/test_facts.py``.
    """
    start = np.random.default_rng([seed, 3]).random(2)
    rng = np.random.default_rng([seed, 4, index])
    kind, volume = ((start + np.array(_STEPS) * (index + 1)) % 1.0).tolist()
    share = np.array([n / _cases_a_subject(s) for s, _, n in SCANS])
    slices, frames, _ = SCANS[int(np.searchsorted(np.cumsum(share) / share.sum(), kind, side="right"))]
    in_plane = float(np.round(rng.triangular(0.80, 0.92, 1.04), 3))
    lesion = _LESION_ML[slices]
    large = volume > 0.8
    between = _SPACING_MM[slices][-1] if large else float(rng.choice(_SPACING_MM[slices]))
    log_ml = np.interp(volume, np.linspace(0, 1, len(lesion)), np.log(lesion))
    return Protocol(
        slices=slices,
        frames=frames,
        dt_s=_STEP_S[frames],
        spacing_mm=(in_plane, in_plane, between),
        slabs=1 + int(rng.random() < _SECOND_SLAB.get(slices, 0.0)),
        lesion_ml=float(np.exp(log_ml)),
    )


def _cases_a_subject(slices: int) -> float:
    return 1.0 + _SECOND_SLAB.get(slices, 0.0)
