"""The true perfusion of one simulated CT scan, voxel by voxel, beside the scan made from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.phantom.ct.scan import Acquisition, CaseArrays, acquisition, haemodynamics, scan_slab
from monai_isles.phantom.ct.subject import make_patient
from monai_isles.phantom.dataset import MOST_SLICES, plan


@dataclass(frozen=True)
class TruePerfusion:
    """Hold what a perfect measurement of one scan would give, zero outside the head.

    Shapes: volumes (H, W, D) float32, ``blood_hu`` (T,), ``path_mm`` (T, 2).
    Units: ``cbf`` ml/100 g/min, ``cbv`` ml/100 g, ``mtt``, ``delay`` and ``dt_s`` s, ``blood_hu`` HU of pure arterial
    blood over baseline, ``path_mm`` movement of the head; ``matter``, ``artery`` and ``vein`` are parts of a voxel.
    """

    cbf: np.ndarray
    cbv: np.ndarray
    mtt: np.ndarray
    delay: np.ndarray
    matter: np.ndarray
    artery: np.ndarray
    vein: np.ndarray
    blood_hu: np.ndarray
    path_mm: np.ndarray
    how: Acquisition


def true_haemodynamics(
    number: int, *, seed: int, section: str = "TRAINING", max_slices: int = MOST_SLICES
) -> TruePerfusion:
    """Return the true perfusion of ``case_<number>``, the case that ``make_case`` of the same arguments simulates.

    Source: ours; ``tests/phantom/ct/test_true_perfusion.py``.
    """
    return case_with_truth(number, seed=seed, section=section, max_slices=max_slices, scan=False)[1]


def case_with_truth(
    number: int, *, seed: int, section: str = "TRAINING", max_slices: int = MOST_SLICES, scan: bool = True
) -> tuple[CaseArrays | None, TruePerfusion]:
    """Return ``make_case`` and its truth from one simulated subject; no case without ``scan``."""
    wanted = plan(number, seed=seed, section=section, max_slices=max_slices)[-1]
    patient = make_patient(wanted.index, seed=seed)
    slab, protocol = patient.slabs[wanted.slab], patient.protocol
    tissues, true = slab.tissues, haemodynamics(patient, slab, seed=seed)
    how = acquisition(patient, wanted.slab, seed=seed)
    cbf, cbv, mtt_s, delay_s = (
        tissues.spread(v.astype(np.float32)) for v in (true.cbf, true.cbv, true.mtt_s, true.delay_s)
    )
    truth = TruePerfusion(
        cbf,
        cbv,
        mtt_s,
        delay_s,
        matter=tissues.gm + tissues.wm,
        artery=tissues.artery,
        vein=tissues.vein,
        blood_hu=how.bolus.curve(np.arange(protocol.frames) * protocol.dt_s),
        path_mm=how.path_px * np.array(protocol.spacing_mm[:2]),
        how=how,
    )
    return (scan_slab(patient, wanted.slab, seed=seed) if scan else None), truth
