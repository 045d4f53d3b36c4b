"""Apply clinical rules to CBF and Tmax: core, hypoperfusion, penumbra, mismatch and the DEFUSE 3 profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_isles.errors import refused

HYPOPERFUSED_S = 6.0


def _bool(*masks: np.ndarray) -> list[np.ndarray]:
    """Return masks as booleans: one of 0 and 1, as a file holds it, would pick voxels by number."""
    return [np.asarray(mask, dtype=bool) for mask in masks]


def upright_hemispheres(brain: np.ndarray) -> np.ndarray:
    """Return the left half of the volume, split at the column of the brain's centre of mass; a tilt is ignored.

    Shapes: boolean ``(H, W, D)``, RAS+, in and out. Source: ours, for volumes without a CT.
    """
    middle = float(np.nonzero(brain)[0].mean()) if brain.any() else (brain.shape[0] - 1) / 2
    left = np.arange(brain.shape[0]) < middle
    return np.broadcast_to(left[:, None, None], brain.shape).copy()


def contralateral_side(tmax_s: np.ndarray, brain: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return the brain of the side with less hypoperfusion (Tmax > 6 s); the whole brain when both have as much.

    Shapes: all ``(H, W, D)``; boolean out. Units: s. The lesion label is not looked at.

    Raises: ``E-EVAL-01`` when a side holds no brain.

    Source: Tmax > 6 s as in DEFUSE 3, doi:10.1056/NEJMoa1713973; choice of side ours.

    >>> tmax, left = np.array([[[9.0]], [[1.0]]]), np.array([[[True]], [[False]]])
    >>> contralateral_side(tmax, np.ones((2, 1, 1), bool), left).ravel().tolist()
    [False, True]
    """
    brain, left = _bool(brain, left)
    sides = [brain & left, brain & ~left]
    if not all(side.any() for side in sides):
        found = f"{int(sides[0].sum())} voxels left, {int(sides[1].sum())} right"
        raise refused("E-EVAL-01", where="contralateral side", found=found)
    # The side with less delay is the healthy one: the lesion label, unknown at prediction, is not looked at.
    low = [int(np.count_nonzero(tmax_s[side] > HYPOPERFUSED_S)) for side in sides]
    if low[0] == low[1]:
        return brain.copy()
    return sides[0] if low[0] < low[1] else sides[1]


def relative_cbf(cbf: np.ndarray, brain: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Divide CBF by its mean over the brain voxels of the reference side that have any; 0 outside the brain.

    Shapes: all ``(H, W, D)``; the precision of ``cbf`` out. Units: any for CBF, it cancels; 1 is the healthy side's
    mean.

    Raises: ``E-EVAL-02`` when the reference side has no CBF.

    Source: mean contralateral CBF, Campbell 2011, doi:10.1161/STROKEAHA.111.618355.

    >>> cbf, healthy = np.array([[[10.0]], [[40.0]]]), np.array([[[False]], [[True]]])
    >>> relative_cbf(cbf, np.ones((2, 1, 1), bool), healthy).ravel().tolist()
    [0.25, 1.0]
    """
    brain, reference = _bool(brain, reference)
    # A CBF of 0 means "not measured" (vessels, edges): it would lower the mean, and so the core.
    healthy = cbf[brain & reference & (cbf > 0)]
    if not healthy.size:
        found = f"{int((brain & reference).sum())} brain voxels, none above zero"
        raise refused("E-EVAL-02", where="relative CBF", found=found)
    return np.where(brain, cbf, 0.0) / float(healthy.mean(dtype=np.float64))


CORE_CUT = 0.30
MIN_CLUSTER_ML = 0.5
DELAYS_S, FLOWS = (4.0, 6.0, 8.0, 10.0), (0.20, 0.30, 0.34, 0.38)


@dataclass(frozen=True)
class Ischaemia:
    """Hold the masks and volumes of the threshold rules of one case.

    Shapes: masks boolean ``(H, W, D)``. Units: ml; ``tmax_ml`` by delay in s, ``rcbf_ml`` by part of the healthy flow.

    Args:
        penumbra: hypoperfused and not core.
        mismatch_ml: hypoperfused minus core volume; unlike ``penumbra_ml`` negative where the core lies outside.
        mismatch_ratio: hypoperfused over core volume; infinite without a core, nan where there is neither.
        tmax_ml: volume above each of ``DELAYS_S`` and above the delay in use.
        rcbf_ml: volume below each of ``FLOWS``.
        intensity_ratio: part of the tissue with Tmax > 6 s that has Tmax > 10 s; nan without such tissue.
        cbv_index: mean CBV where Tmax > 6 s over the mean CBV of the healthy side; nan without either.
        side: with more hypoperfused tissue, ``left`` or ``right`` of the patient, or ``none``; None where unknown.
    """

    core: np.ndarray
    hypoperfused: np.ndarray
    penumbra: np.ndarray
    core_ml: float
    hypoperfused_ml: float
    penumbra_ml: float
    mismatch_ml: float
    mismatch_ratio: float
    defuse3: bool
    tmax_ml: dict[float, float]
    rcbf_ml: dict[float, float]
    intensity_ratio: float
    cbv_index: float
    side: str | None

    @property
    def core_outside_ml(self) -> float:
        """Return the volume of core without the delay: often an old infarct; it counts against the mismatch."""
        return self.core_ml - (self.hypoperfused_ml - self.penumbra_ml)

    def record(self) -> dict[str, object]:
        """Return the numbers for JSON; an infinite or undefined ratio is None, beside a sentence with the reason."""
        there, late = math.isfinite(self.mismatch_ratio), math.isfinite(self.intensity_ratio)
        index = {"cbv_index": round(self.cbv_index, 4)} if math.isfinite(self.cbv_index) else {}
        why = "no core: the ratio is infinite" if self.hypoperfused_ml else "neither core nor hypoperfusion: no ratio"
        volumes = ("core_ml", "core_outside_ml", "hypoperfused_ml", "penumbra_ml", "mismatch_ml")
        return {
            **{name: round(getattr(self, name), 3) for name in volumes},
            "mismatch_ratio": round(self.mismatch_ratio, 4) if there else None,
            **({} if there else {"mismatch_ratio_said": why}),
            "defuse3": self.defuse3,
            "tmax_ml": {f"{delay:g}": round(volume, 3) for delay, volume in self.tmax_ml.items()},
            "rcbf_ml": {f"{100 * part:g}": round(volume, 3) for part, volume in self.rcbf_ml.items()},
            "hir": round(self.intensity_ratio, 4) if late else None,
            **({} if late else {"hir_said": "no tissue with Tmax above 6 s: no ratio"}),
            **index,
            **({} if self.side is None else {"side": self.side}),
        }


def ischaemia(
    cbf: np.ndarray,
    tmax: np.ndarray,
    brain: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    core_rcbf: float = CORE_CUT,
    delay_s: float = HYPOPERFUSED_S,
    min_cluster_ml: float = MIN_CLUSTER_ML,
    contralateral: np.ndarray | None = None,
    cbv: np.ndarray | None = None,
    left: np.ndarray | None = None,
) -> Ischaemia:
    """Return core, hypoperfusion, penumbra, mismatch and the ratios made of them, of one case.

    Shapes: all maps and masks ``(H, W, D)``, RAS+. Units: CBF any, Tmax s, spacing mm.

    Args:
        core_rcbf: core is strictly below this fraction of the contralateral mean flow.
        delay_s: hypoperfused is strictly above this Tmax.
        min_cluster_ml: smaller 6-connected clusters are dropped, from every mask alike.
        contralateral: mask of the healthy side; without it the brain is split at its centre column and the
            side with less Tmax > 6 s is taken.
        cbv: blood volume, any unit, for ``cbv_index``.
        left: the patient's left half, for ``side``.

    Raises: ``E-PERF-40`` cuts or shapes that make no sense, ``E-EVAL-01`` a side without brain, ``E-EVAL-02`` no flow
    on the healthy side.

    Source: rCBF < 30 %, Tmax > 6 s and the target profile of DEFUSE 3, doi:10.1056/NEJMoa1713973; intensity ratio,
        Olivot 2014, doi:10.1161/STROKEAHA.113.003857; index, Arenillas 2018, doi:10.1177/0271678X17740293; smallest
        cluster ours; ``tests/perfusion/test_thresholds.py``.

    >>> cbf, tmax = np.full((10, 4, 1), 40.0), np.ones((10, 4, 1))  # voxels of 1 ml
    >>> cbf[:2], tmax[:4] = 8.0, 9.0
    >>> rules = ischaemia(cbf, tmax, np.ones((10, 4, 1), bool), (10.0, 10.0, 10.0))
    >>> rules.core_ml, rules.hypoperfused_ml, rules.mismatch_ratio
    (8.0, 16.0, 2.0)
    """
    shapes = {np.shape(volume) for volume in (cbf, tmax, brain)}
    if len(shapes) != 1 or min(core_rcbf, delay_s) <= 0 or min_cluster_ml < 0:
        found = f"shapes {sorted(shapes)}; rCBF {core_rcbf:g}, Tmax {delay_s:g} s, cluster {min_cluster_ml:g} ml"
        raise refused("E-PERF-40", where="ischaemia", found=found)
    (brain,) = _bool(brain)
    if contralateral is None:
        contralateral = contralateral_side(tmax, brain, upright_hemispheres(brain))
    (contralateral,) = _bool(contralateral)
    relative = relative_cbf(cbf, brain, contralateral)

    def clusters(mask: np.ndarray) -> np.ndarray:
        return drop_clusters(brain & mask, min_cluster_ml, spacing_mm)

    core = clusters(relative < core_rcbf)
    delayed = {delay: clusters(tmax > delay) for delay in sorted({*DELAYS_S, float(delay_s)})}
    hypoperfused, six = delayed[float(delay_s)], delayed[HYPOPERFUSED_S]
    # Core without delay (an old infarct) is no penumbra, but counts against the mismatch, as in the DEFUSE 3 volumes.
    penumbra = hypoperfused & ~core
    # The ratio is of voxels, not of rounded millilitres: 1.8 must be met exactly.
    core_vox, low_vox = int(core.sum()), int(hypoperfused.sum())
    core_ml, mismatch_ml = _ml(core_vox, spacing_mm), _ml(low_vox - core_vox, spacing_mm)
    ratio = low_vox / core_vox if core_vox else (math.inf if low_vox else math.nan)
    return Ischaemia(
        core=core,
        hypoperfused=hypoperfused,
        penumbra=penumbra,
        core_ml=core_ml,
        hypoperfused_ml=_ml(low_vox, spacing_mm),
        penumbra_ml=_ml(int(penumbra.sum()), spacing_mm),
        mismatch_ml=mismatch_ml,
        mismatch_ratio=ratio,
        defuse3=defuse3_profile(core_ml, mismatch_ml, ratio),
        tmax_ml={delay: _ml(int(mask.sum()), spacing_mm) for delay, mask in delayed.items()},
        rcbf_ml={cut: _ml(int(clusters(relative < cut).sum()), spacing_mm) for cut in FLOWS},
        intensity_ratio=float(delayed[10.0].sum() / six.sum()) if six.any() else math.nan,
        cbv_index=math.nan if cbv is None else _mean_ratio(cbv, six & brain, contralateral & brain),
        side=None if left is None else _fuller_side(hypoperfused, *_bool(left)),
    )


def _mean_ratio(volume: np.ndarray, part: np.ndarray, whole: np.ndarray) -> float:
    """Return the mean of a map in a part over its mean in the whole; nan where either is empty or zero."""
    means = [float(volume[mask].mean(dtype=np.float64)) if mask.any() else 0.0 for mask in (part, whole)]
    return means[0] / means[1] if part.any() and means[1] > 0 else math.nan


def _fuller_side(mask: np.ndarray, left: np.ndarray) -> str:
    counts = [int((mask & side).sum()) for side in (left, ~left)]
    return "none" if not any(counts) else ("left" if counts[0] > counts[1] else "right")


def defuse3_profile(core_ml: float, mismatch_ml: float, mismatch_ratio: float) -> bool:
    """Return whether core < 70 ml, ratio >= 1.8 and mismatch volume >= 15 ml; an undefined ratio (nan) does not fit.

    Source: DEFUSE 3, doi:10.1056/NEJMoa1713973.
    """
    return core_ml < 70.0 and mismatch_ratio >= 1.8 and mismatch_ml >= 15.0


def dawn_profile(core_ml: float, age_years: float, nihss: float) -> bool:
    """Return whether the deficit is large for the core, as DAWN selected patients.

    From 80 years on NIHSS >= 10 and core < 21 ml; below 80 NIHSS >= 10 and core < 31 ml, or NIHSS >= 20 and core < 51.

    Source: DAWN, Nogueira et al., N Engl J Med 2018, doi:10.1056/NEJMoa1706442.
    """
    if age_years >= 80:
        return nihss >= 10 and core_ml < 21
    return core_ml < (51 if nihss >= 20 else 31) and nihss >= 10


def drop_clusters(mask: np.ndarray, min_cluster_ml: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return the mask without its 6-connected clusters below ``min_cluster_ml``; one of exactly that volume is kept."""
    labels, sizes = connected_parts(mask)
    return (sizes >= max(cluster_vox(min_cluster_ml, spacing_mm), 1))[labels]


def connected_parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the part of each voxel, joined by faces, and the voxels of each part; none of number 0."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0  # all that lies outside the mask
    return labels, sizes


def cluster_vox(ml: float, spacing_mm: Sequence[float]) -> int:
    """Return the fewest voxels whose volume is at least ``ml``."""
    # 1e-9: a volume of exactly ``ml`` must not ask for one voxel more by rounding.
    return math.ceil(ml * 1000 / math.prod(map(float, spacing_mm)) - 1e-9)


def _ml(voxels: int, spacing_mm: Sequence[float]) -> float:
    """Return the volume, rounded to a billionth of a litre so that a limit such as 15 ml is met exactly."""
    return round(voxels * math.prod(map(float, spacing_mm)) / 1000, 6)
