from __future__ import annotations

import numpy as np
import pytest

from monai_isles.perfusion.deconvolution import deconvolve
from monai_isles.phantom.ct.kinetics import FINE_S, RESIDUES, Bolus, TissueCurves, residue

BOLUS = Bolus(arrival_s=5.0, alpha=3.0, beta_s=1.5, peak_hu=250.0, recirculation=0.2)
TIME_S = np.arange(60.0)


@pytest.mark.parametrize("kind", RESIDUES)
def test_the_area_of_a_residue_function_is_the_transit_time(kind: str) -> None:
    fine = np.arange(0, 200, FINE_S)
    mtt = np.array([3.0, 6.0, 12.0])
    curves = residue(kind, fine, mtt)
    assert np.allclose(curves[:, 0], 1.0, atol=0.01) and (np.diff(curves, axis=1) <= 1e-9).all()
    assert np.allclose(curves.sum(1) * FINE_S - FINE_S / 2, mtt, rtol=0.02)


@pytest.mark.parametrize("kind", RESIDUES)
def test_tabled_curves_equal_a_direct_convolution(kind: str) -> None:
    fine = np.arange(0, 60, 0.02)
    passed = np.convolve(BOLUS.curve(fine), residue(kind, fine, np.array([4.5]))[0])[: len(fine)] * 0.02
    direct = 50.0 * 1.04 / 0.73 / 6000 * passed[::50]
    tabled = TissueCurves(BOLUS, kind, TIME_S).tissue(np.array([50.0]), np.array([4.5]), np.array([0.0]))[0]
    assert np.abs(tabled - direct).max() < 0.04 * direct.max()


def test_delay_disperses_the_bolus_but_keeps_its_area() -> None:
    time = np.arange(0.0, 120.0)
    curves = TissueCurves(Bolus(5.0, 3.0, 1.5, 250.0, 0.0), "exponential", time)
    early, late = curves.tissue(np.array([40.0, 40.0]), np.array([4.0, 4.0]), np.array([0.0, 6.0]))
    assert late.max() < 0.95 * early.max() and late.argmax() >= early.argmax() + 6
    assert late.sum() == pytest.approx(early.sum(), rel=0.02)


def test_vessels_carry_the_arterial_curve() -> None:
    curves = TissueCurves(BOLUS, "box", TIME_S)
    whole, half = curves.vessel(np.array([1.0, 0.5]), np.zeros(2))
    assert np.allclose(whole, BOLUS.curve(TIME_S), atol=0.5) and np.allclose(half, whole / 2)


@pytest.mark.parametrize("kind", RESIDUES)
def test_deconvolution_recovers_the_flow_that_made_the_curve(kind: str) -> None:
    import torch

    made = TissueCurves(BOLUS, kind, TIME_S).tissue(np.array([50.0]), np.array([6.0]), np.array([2.0]))
    found = deconvolve(torch.from_numpy(made), torch.from_numpy(BOLUS.curve(TIME_S)).float(), 1.0, level=0.05)
    assert 0.6 < float(found.max()) * 6000 * 0.73 / 1.04 / 50.0 < 1.15
