"""The score, its rule for empty masks, and the choice, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from monai_isles.crossval.protocols import SIZES_VOX, THRESHOLDS, GridScores, choose_without, grid_scores, joint_score
from monai_isles.crossval.search import fit_calibration
from monai_isles.errors import IslesError


def grid(
    dsc: object, hd: object, thresholds: tuple = (0.1, 0.2), sizes: tuple = (10,), excess_ml: object = None
) -> GridScores:
    parts = (dsc, hd, hd if excess_ml is None else excess_ml)
    shaped = [np.reshape(one, (-1, len(thresholds), len(sizes))).astype(float) for one in parts]
    return GridScores(thresholds, sizes, *shaped)


def test_the_grid_is_the_papers() -> None:
    assert THRESHOLDS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert len(SIZES_VOX) == 6 and (min(SIZES_VOX), max(SIZES_VOX)) == (10, 500)


@pytest.mark.parametrize(
    ("dsc", "hd", "wanted"), [(0.6, 50, 0.45 / 1.35), (1, 0, 0.5), (0, 0, 0), (1, 200, 0), (0, 200, 0)]
)
def test_score_by_hand(dsc: float, hd: float, wanted: float) -> None:
    assert float(joint_score(np.array(dsc, float), np.array(hd, float))) == pytest.approx(wanted)


def test_score_is_of_the_means_and_an_undefined_or_huge_distance_counts_200() -> None:
    one = grid([[0.8], [0.0], [0.4]], [[20], [np.nan], [300]], thresholds=(0.5,))
    dsc, hd = one.means()
    assert float(dsc[0, 0]) == pytest.approx(0.4) and float(hd[0, 0]) == pytest.approx(140.0)
    assert float(one.scores()[0, 0]) == pytest.approx(0.4 * 0.3 / 0.7)


def test_both_masks_empty_is_the_best_a_case_can_score() -> None:
    assert float(grid([[1.0]], [[0.0]], thresholds=(0.5,)).scores()[0, 0]) == 0.5


def test_the_best_pair_is_chosen_and_ties_go_to_the_lower_threshold_and_smaller_size() -> None:
    better = grid([[0.5, 0.6]], [[10, 10]])
    assert (better.choose().threshold, better.choose().min_size_vox) == (0.2, 10)
    tied = grid([[0.5, 0.6, 0.6, 0.6]], [[10, 10, 10, 10]], thresholds=(0.2, 0.1), sizes=(50, 10))
    assert (tied.choose().threshold, tied.choose().min_size_vox) == (0.1, 10)


def test_of_pairs_that_chance_does_not_tell_apart_the_one_of_the_right_volume_is_taken() -> None:
    excess = [[10, -1], [10, 2], [10, -1], [10, 1]]  # ml: mean 10 at 0.1, 0.25 at 0.2
    near = np.zeros((4, 2))
    # 0.2 is lower by 0.1, -0.1, 0.05 and 0: mean 0.0125, standard error 0.074 / 2
    alike = grid([[0.6, 0.5], [0.6, 0.7], [0.6, 0.55], [0.6, 0.6]], near, excess_ml=excess)
    assert alike.choose().threshold == 0.1 and alike.choose_by_volume().threshold == 0.2
    # 0.2 is lower by 0.1 in every case: that is no chance
    worse = grid([[0.6, 0.5]] * 4, near, excess_ml=excess)
    assert worse.choose_by_volume() == worse.choose() and worse.choose().threshold == 0.1
    # 0.2 is lower by 0.3 in one case of eight: two standard errors are 0.07, but 0.04 of Dice is a loss
    few = grid([[0.9, 0.6]] + [[0.9, 0.9]] * 7, np.zeros((8, 2)), excess_ml=excess * 2)
    assert few.choose_by_volume() == few.choose() and few.choose().threshold == 0.1
    # 0.2 is nearer by a tenth of a millilitre, which is no reason to take the lower Dice of ``alike``
    nearly = grid([[0.6, 0.5], [0.6, 0.7], [0.6, 0.55], [0.6, 0.6]], near, excess_ml=[[2.1, 2.0]] * 4)
    assert nearly.choose_by_volume().threshold == 0.1


def maps_of_two_voxel_sizes() -> SimpleNamespace:
    """Return 8 voxels of lesion found at 0.9, 4 missed and 4 false ones, in voxels of 0.1 and of 0.5 ml."""
    probability, mask = np.full((8, 8, 4), 0.05, np.float32), np.zeros((8, 8, 4), np.uint8)
    probability[:2, :2, :2] = probability[6:, 6:, 0] = 0.9
    mask[:2, :2, :2] = mask[3:5, 3:5, 3] = 1
    spacing = {"fine": (5.0, 5.0, 4.0), "coarse": (10.0, 10.0, 5.0)}
    images = {name: SimpleNamespace(data=mask, spacing_mm=mm) for name, mm in spacing.items()}
    cases = [SimpleNamespace(name=name) for name in spacing]
    return SimpleNamespace(cases=cases, read=lambda case: (probability, images[case.name]))


def test_sizes_in_mm3_are_other_numbers_of_voxels_in_every_case() -> None:
    found = maps_of_two_voxel_sizes()
    grid = grid_scores(cast(Any, found), sizes_mm3=(0, 1000, 3000))
    fine, coarse = grid.dsc[:, THRESHOLDS.index(0.5)]
    whole = 2 * 8 / (12 + 12)  # both components
    assert fine.tolist() == [whole, 0, 0]  # 0.8 and 0.4 ml
    assert coarse.tolist() == [whole, whole, 2 * 8 / (8 + 12)]  # 4 and 2 ml
    voxels = grid_scores(cast(Any, found), sizes_vox=(0, 10, 6))
    assert voxels.dsc[0].tolist() == voxels.dsc[1].tolist()


def test_volumes_of_a_calibration_leave_out_what_is_smaller_in_ml() -> None:
    found = maps_of_two_voxel_sizes()
    kept = [fit_calibration(cast(Any, found.cases), cast(Any, found.read), threshold=0.5, min_cluster_ml=ml) for ml in
            (0.0, 3.0)]  # fmt: skip
    assert [sum(part["voxels"] for part in one.curve) for one in kept] == [4, 1]


def test_each_fold_is_tuned_without_its_own_cases() -> None:
    dsc = [[0.9, 0.1], [0.2, 0.4], [0.2, 0.4]]  # fold 0 alone would choose 0.1
    chosen = choose_without(grid(dsc, np.zeros((3, 2))), [0, 1, 2])
    assert chosen[0].threshold == 0.2
    assert chosen[1].threshold == chosen[2].threshold == 0.1  # 0.55 against 0.25


def test_nothing_to_choose_by_is_refused() -> None:
    with pytest.raises(IslesError, match="E-SRCH-04: no cases of another fold to choose on"):
        choose_without(grid([[0.9, 0.1]], [[1, 1]]), [0])
