"""Simulate the true perfusion of a phantom's scan, which perfusion maps are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_isles.phantom.ct.scan import Acquisition, CaseArrays, scan_slab
from monai_isles.phantom.ct.subject import make_patient
from monai_isles.phantom.dataset import MOST_SLICES, plan


@dataclass(frozen=True)
class TruePerfusion:
    """Hold the true perfusion of one scan, zero outside the head.

    Shapes: volumes (H, W, D) float32, ``blood_hu`` (T,), ``path_mm`` (T, 2).
    Units: ``cbf`` ml/100 g/min, ``cbv`` ml/100 g, ``mtt``, ``delay`` and ``dt_s`` s, ``blood_hu`` HU of pure arterial
    blood over baseline, ``path_mm`` movement of the head; ``matter``, ``artery`` and ``vein`` are shares of a voxel.
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
    acquisition: Acquisition


def case_with_truth(
    number: int, *, seed: int, max_slices: int = MOST_SLICES, scan: bool = True
) -> tuple[CaseArrays | None, TruePerfusion]:
    """Return the case of ``make_case`` and its truth; with ``scan=False`` only the truth is simulated."""
    wanted = plan(number, seed=seed, max_slices=max_slices)[-1]
    patient = make_patient(wanted.index, seed=seed)
    protocol, acquired = patient.protocol, Acquisition(patient, wanted.slab, seed=seed)
    tissues = acquired.slab.tissues
    maps = {"cbf": acquired.cbf, "cbv": acquired.cbv, "mtt": acquired.mtt_s, "delay": acquired.delay_s}
    filled: dict[str, Any] = {name: tissues.fill(values.astype(np.float32)) for name, values in maps.items()}
    truth = TruePerfusion(
        **filled,
        matter=tissues.gm + tissues.wm,
        artery=tissues.artery,
        vein=tissues.vein,
        blood_hu=acquired.bolus.curve(np.arange(protocol.frames) * protocol.dt_s),
        path_mm=acquired.path_px * np.array(protocol.spacing_mm[:2]),
        acquisition=acquired,
    )
    return (scan_slab(patient, wanted.slab, seed=seed) if scan else None), truth
