from __future__ import annotations

import numpy as np

from monai_isles.perfusion.deconvolution import METHOD
from monai_isles.phantom import make_case
from monai_isles.phantom.ct.scan import CaseArrays


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_maps_are_zero_outside_the_brain_and_positive_in_it(case: CaseArrays) -> None:
    cbf, cbv, mtt, tmax = (case.images[k] for k in ("cbf", "cbv", "mtt", "tmax"))
    brain = (cbf + cbv + mtt + tmax) > 0
    assert 0.12 < brain.mean() < 0.45
    outside = case.images["ct"] > 300
    assert not any(m[outside].any() for m in (cbf, cbv, mtt, tmax))
    assert 20 < np.median(cbf[brain]) < 80 and 2 < np.median(mtt[brain]) < 10 and np.median(tmax[brain]) < 6


def test_flow_falls_and_delay_rises_in_the_lesion_of_an_occluded_vessel(case: CaseArrays) -> None:
    assert case.truth["reopened"] == 0.0
    cbf, tmax = case.images["cbf"], case.images["tmax"]
    brain = cbf > 0
    assert cbf[case.label & brain].mean() < 0.6 * cbf[brain & ~case.label].mean()
    assert tmax[case.label & brain].mean() > tmax[brain & ~case.label].mean() + 2


def test_the_lesion_is_not_a_threshold_of_any_map(case: CaseArrays) -> None:
    brain = case.images["cbf"] > 0
    for key in ("cbf", "cbv", "mtt", "tmax"):
        cuts = np.quantile(case.images[key][brain], np.linspace(0.02, 0.98, 49))
        best = max(
            max(dice(brain & (case.images[key] < c), case.label), dice(case.images[key] > c, case.label)) for c in cuts
        )
        assert best < 0.85, key


def test_the_lesion_is_bright_on_dwi_and_faintly_dark_on_ct(case: CaseArrays) -> None:
    brain = case.images["cbf"] > 0
    dwi, ct = case.images["dwi"], case.images["ct"]
    assert dwi[case.label].mean() > 1.4 * dwi[brain & ~case.label].mean()
    assert -6 < ct[case.label & brain].mean() - ct[brain & ~case.label].mean() < 1


def test_the_series_is_the_scan_the_maps_came_from(case: CaseArrays) -> None:
    assert case.ctp.dtype == np.int16 and case.ctp.shape[1:] == case.label.shape
    assert 43 <= len(case.ctp) <= 64 and 1.0 <= case.dt_s <= 2.0
    brain = case.images["cbf"] > 0
    curve = case.ctp[:, brain].mean(1)
    assert 3 < curve.max() - curve[:3].mean() < 25
    assert 2.5 < (case.ctp[0].astype(float) - case.ctp[1])[brain].std() / np.sqrt(2) < 8


def test_making_a_case_again_gives_the_same_bits(case: CaseArrays) -> None:
    again = make_case(2, seed=7, max_slices=2)
    assert all(np.array_equal(case.images[k], again.images[k]) for k in case.images)
    assert np.array_equal(case.ctp, again.ctp) and np.array_equal(case.label, again.label) and case.truth == again.truth


def test_the_maps_are_those_of_the_pipeline_by_its_usual_method() -> None:
    from monai_isles.perfusion import perfusion_maps

    scan = make_case(1, seed=5, max_slices=2)
    found = perfusion_maps(scan.ctp, scan.dt_s, spacing_mm=scan.spacing_mm)
    assert scan.truth["maps"] == METHOD and np.array_equal(scan.images["cbf"], found.cbf)
