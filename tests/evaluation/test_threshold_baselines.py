"""The threshold rules on heads whose core is known."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.evaluation.threshold_baselines import RCBF30, single_threshold_core, tune_single_threshold
from monai_isles.inference.ischaemia import read_perfusion_case
from monai_isles.metrics import dsc
from monai_isles.perfusion.thresholds import ischaemia, relative_cbf

SPACING = (2.0, 2.0, 6.0)


def _line() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cbf = np.array([10.0, 20.0, 0.0, 40.0, 60.0, 0.0, 99.0]).reshape(7, 1, 1)
    brain = np.array([1, 1, 1, 1, 1, 1, 0], bool).reshape(7, 1, 1)
    side = np.array([0, 0, 0, 1, 1, 1, 1], bool).reshape(7, 1, 1)
    return cbf, brain, side


def test_relative_flow_by_hand() -> None:
    relative = relative_cbf(*_line())  # the healthy side flows at 40 and 60, its voxel without flow is left out
    assert relative.ravel() == pytest.approx([0.2, 0.4, 0.0, 0.8, 1.2, 0.0, 0.0])


def test_the_core_is_strictly_below_the_cut_and_inside_the_brain() -> None:
    cbf, brain, side = _line()
    core = ischaemia(cbf, cbf, brain, (1, 1, 1), core_rcbf=0.4, min_cluster_ml=0.0, contralateral=side).core
    assert core.ravel().tolist() == [True, False, True, False, False, True, False]


def test_the_scale_of_the_map_does_not_matter() -> None:
    cbf, brain, side = _line()
    assert relative_cbf(10 * cbf, brain, side) == pytest.approx(relative_cbf(cbf, brain, side))


def test_a_cluster_of_exactly_the_smallest_volume_is_kept() -> None:
    cbf = np.full((20, 20, 2), 50.0)
    cbf[0:5, 0:5, 0] = 5.0  # 25 voxels of 24 mm3 = 0.6 ml
    brain, side = np.ones_like(cbf, bool), np.zeros_like(cbf, bool)
    side[10:] = True
    kept = [ischaemia(cbf, cbf, brain, SPACING, min_cluster_ml=ml, contralateral=side) for ml in (0.0, 0.6, 0.61)]
    assert [int(found.core.sum()) for found in kept] == [25, 25, 0]


@pytest.mark.parametrize("angle", [0.0, 14.0])
def test_the_known_core_of_a_tilted_head_is_found(perfusion_entry, angle: float) -> None:
    case = read_perfusion_case(perfusion_entry(angle_deg=angle), need_label=True)
    assert case.midline == "mirror" and dsc(single_threshold_core(case, RCBF30), case.label) == 1.0


def test_without_a_ct_the_case_says_how_the_sides_were_told_apart(perfusion_entry) -> None:
    case = read_perfusion_case(perfusion_entry(without=("ct",)))
    assert case.midline == "centroid" and case.label is None and case.reference[60:].any()


def test_a_ct_that_cannot_be_registered_is_recorded(perfusion_entry) -> None:
    assert read_perfusion_case(perfusion_entry(ct=np.full((96, 96, 2), -1000.0))).midline == "centroid"


def test_a_missing_map_is_named(perfusion_entry) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-04: a map that the threshold rule needs.*case_9.*no tmax, label"):
        read_perfusion_case(perfusion_entry("case_9", without=("tmax", "label")), need_label=True)


def test_maps_on_another_grid_are_refused(perfusion_entry, save_volume, tmp_path) -> None:
    entry = perfusion_entry()
    entry["tmax"] = str(save_volume(tmp_path / "t.nii.gz", np.ones((96, 96, 2)), spacing=(2.0, 2.0, 9.0)))
    with pytest.raises(IslesError, match=r"E-GEOM-03"):
        read_perfusion_case(entry)


def test_no_flow_on_the_reference_side_is_refused() -> None:
    cbf, brain, side = _line()
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-02: no blood flow on the reference side.*3 brain voxels"):
        relative_cbf(np.where(side, 0.0, cbf), brain, side)


def test_the_tuned_rule_finds_the_cut_that_separates_the_training_lesions(perfusion_entry) -> None:
    rule = tune_single_threshold([perfusion_entry("case_1"), perfusion_entry("case_2", angle_deg=8.0)])
    # core 10 against a healthy mean of 50: every rCBF cut above 0.2 and up to 0.5 is perfect, 0.25 comes first
    assert (rule.map, rule.cut, rule.min_cluster_ml, rule.mean_dsc, rule.cases) == ("rcbf", 0.25, 0.0, 1.0, 2)


def test_the_tuned_rule_can_be_a_delay(perfusion_entry, make_head) -> None:
    label = make_head()[0]["tmax"] > 5
    flow = np.where(make_head()[0]["cbf"] > 0, 50.0, 0.0)
    entry = perfusion_entry(label=label, cbf=flow)
    rule = tune_single_threshold([entry])
    assert (rule.map, rule.cut, rule.mean_dsc) == ("tmax", 2.0, 1.0)  # healthy tissue is at 2 s, which is not above it
    assert np.array_equal(single_threshold_core(read_perfusion_case(entry), rule), label)


def test_tuning_on_nothing_is_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-03: no training cases to tune on"):
        tune_single_threshold([])
