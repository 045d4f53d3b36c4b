"""The true perfusion belongs to the simulated scan, and the measured maps come near to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from true_perfusion import TruePerfusion, case_with_truth

from monai_isles.perfusion import ischaemia, perfusion_maps
from monai_isles.phantom.ct.scan import CaseArrays
from tests.fixtures.shared import Simulated

SEED = 7


@pytest.fixture(scope="module")
def case(simulated: Simulated) -> CaseArrays:
    """A simulated scan of two slices."""
    return simulated(2, SEED)


@pytest.fixture(scope="module")
def true() -> TruePerfusion:
    """The true perfusion of ``case``, simulated alone."""
    return case_with_truth(2, seed=SEED, max_slices=2, scan=False)[1]


def test_the_truth_belongs_to_the_case_and_leaves_its_bits_alone(case, true) -> None:
    again, beside = case_with_truth(2, seed=SEED, max_slices=2)
    assert np.array_equal(again.ctp, case.ctp) and np.array_equal(again.images["cbf"], case.images["cbf"])
    assert beside.acquisition.kind == case.truth["residue"]
    assert np.array_equal(true.cbf, beside.cbf) and np.array_equal(true.path_mm, beside.path_mm)


def test_volume_is_flow_times_transit_and_flow_is_lost_in_the_lesion(case, true) -> None:
    brain = (true.matter > 0.9) & (true.cbf > 1)
    assert np.allclose(true.cbv[brain], true.cbf[brain] * true.mtt[brain] / 60, rtol=1e-4)
    assert true.cbf[brain & case.label].mean() < 0.5 * true.cbf[brain & ~case.label].mean()
    assert true.delay[brain & case.label].mean() > true.delay[brain & ~case.label].mean() + 3


def test_the_measured_artery_is_the_true_blood_made_thinner(case, true) -> None:
    widest = np.unravel_index(int(true.artery.argmax()), true.artery.shape)
    rise = case.ctp[(slice(None), *widest)].astype(float)
    rise -= rise[:3].mean()
    assert np.corrcoef(rise, true.blood_hu)[0, 1] > 0.95 and len(true.blood_hu) == len(case.ctp)


def test_the_artery_is_measured_where_the_phantom_has_its_arteries(case, true) -> None:
    places = perfusion_maps(case.ctp, case.dt_s, spacing_mm=case.spacing_mm).aif_vox
    most = np.quantile(true.artery, 0.999)  # one voxel in a thousand holds as much artery
    assert len(places) >= 5 and most > 0.2 and true.artery[tuple(places.T)].min() > most


@pytest.mark.parametrize("number", [2, *(pytest.param(more, marks=pytest.mark.long) for more in (4, 5, 6, 8))])
def test_intensity_ratio_index_and_ladder_are_those_of_the_truth(number: int, case, true) -> None:
    """The true Tmax is the delay and half the transit: the middle of the residue, where a deconvolution peaks."""
    if number != 2:
        case, true = case_with_truth(number, seed=SEED, max_slices=2)
    maps = perfusion_maps(case.ctp, case.dt_s, spacing_mm=case.spacing_mm)
    rules = ischaemia(maps.cbf, maps.tmax, maps.brain, case.spacing_mm, cbv=maps.cbv)
    tissue, voxel_ml = maps.brain & (true.matter > 0.5), math.prod(case.spacing_mm) / 1000
    late = true.delay + true.mtt / 2
    six, ten = tissue & (late > 6), tissue & (late > 10)
    left = np.arange(len(tissue))[:, None, None] < np.nonzero(tissue)[0].mean()
    healthy = tissue & (left if (six & left).sum() < (six & ~left).sum() else ~left)
    assert rules.tmax_ml[6.0] == pytest.approx(six.sum() * voxel_ml, rel=0.05, abs=12)
    assert rules.intensity_ratio == pytest.approx(ten.sum() / six.sum(), abs=0.12)
    assert rules.cbv_index == pytest.approx(true.cbv[six].mean() / true.cbv[healthy].mean(), abs=0.08)
    for cut, measured_ml in rules.rcbf_ml.items():
        true_ml = (tissue & (true.cbf < cut * true.cbf[healthy].mean())).sum() * voxel_ml
        assert measured_ml == pytest.approx(true_ml, rel=0.3, abs=9)
