"""Core, hypoperfusion, mismatch and the DEFUSE 3 profile on maps whose volumes are known by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.perfusion import contralateral_side, ischaemia, relative_cbf
from monai_isles.perfusion.thresholds import Ischaemia, cluster_vox, dawn_profile, defuse3_profile, drop_clusters
from monai_isles.postprocessing import drop_small

CUBE_CM = (10.0, 10.0, 10.0)  # one voxel is 1 ml


def maps(core: int, low: int, *, delay: float = 9.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return CBF, Tmax and brain of 20 x 20 x 2 voxels: ``low`` hypoperfused on the left, the first ``core`` dead."""
    cbf, tmax = np.full((20, 20, 2), 50.0, np.float32), np.full((20, 20, 2), 2.0, np.float32)
    side = np.zeros(cbf.shape, bool)
    side[:10] = True
    order = np.flatnonzero(side)
    cbf.flat[order[:core]] = 10.0
    tmax.flat[order[:low]] = delay
    return cbf, tmax, np.ones(cbf.shape, bool)


def found(core: int, low: int, spacing_mm: tuple[float, ...] = CUBE_CM, **cuts: float) -> Ischaemia:
    return ischaemia(*maps(core, low), spacing_mm, **cuts)


def test_volumes_mismatch_and_profile_by_hand() -> None:
    case = found(20, 60)
    assert (case.core_ml, case.hypoperfused_ml, case.penumbra_ml) == (20.0, 60.0, 40.0)
    assert (case.mismatch_ml, case.mismatch_ratio, case.defuse3) == (40.0, 3.0, True)
    assert case.tmax_ml == {4.0: 60.0, 6.0: 60.0, 8.0: 60.0, 10.0: 0.0}
    assert np.array_equal(case.penumbra, case.hypoperfused & ~case.core)


def test_core_outside_the_hypoperfusion_counts_against_the_mismatch_but_not_against_the_penumbra() -> None:
    cbf, tmax, brain = maps(0, 30)
    cbf[8, 10:20, :] = 10.0  # 20 ml of low flow in tissue without delay
    case = ischaemia(cbf, tmax, brain, CUBE_CM)
    assert (case.core_ml, case.penumbra_ml, case.mismatch_ml, case.mismatch_ratio) == (20.0, 30.0, 10.0, 1.5)
    assert case.core_outside_ml == case.record()["core_outside_ml"] == 20.0 and found(20, 60).core_outside_ml == 0.0


def test_tissue_of_flow_zero_is_core_and_does_not_lower_the_mean_of_the_healthy_side() -> None:
    cbf, tmax, brain = maps(0, 400)
    cbf[:2, :10] = 0.0  # 40 ml on the left
    cbf[10::2, ::2, 0] = 0.0  # 50 single voxels on the right: too small to be core, and not in the mean
    cbf[5, :8] = 14.0  # 16 ml: 28 % of 50, but 32 % of a mean that counts the zeros
    assert ischaemia(cbf, tmax, brain, CUBE_CM, min_cluster_ml=5.0).core_ml == 40.0 + 16.0


@pytest.mark.parametrize(
    ("core", "low", "fits"),
    [
        (50, 90, True),  # ratio 1.8 exactly
        (50, 89, False),
        (10, 25, True),  # mismatch 15 ml exactly
        (10, 24, False),
        (69, 200, True),
        (70, 200, False),  # the core must be below 70 ml
        (0, 15, True),  # no core: the ratio is infinite
        (0, 14, False),
        (0, 0, False),
        (30, 20, False),  # negative mismatch
    ],
)
def test_the_target_profile_at_its_limits(core: int, low: int, fits: bool) -> None:
    assert found(core, low).defuse3 is fits


@pytest.mark.parametrize(("voxels", "fits"), [(15000, True), (14999, False)])
def test_a_limit_is_met_exactly_whatever_the_voxel_size(voxels: int, fits: bool) -> None:
    cbf, tmax = np.full((60, 60, 10), 50.0), np.full((60, 60, 10), 2.0)
    tmax[:30].flat[:voxels] = 9.0
    assert ischaemia(cbf, tmax, cbf > 0, (1.0, 1.0, 1.0)).defuse3 is fits


def test_without_a_core_the_ratio_is_infinite_and_json_says_so() -> None:
    case = found(0, 40)
    record = case.record()
    assert case.mismatch_ratio == math.inf and record["mismatch_ratio"] is None
    assert record["mismatch_ratio_said"] == "no core: the ratio is infinite" and record["defuse3"] is True
    json.dumps(record, allow_nan=False)


def test_a_healthy_brain_has_no_ratio_and_no_profile() -> None:
    case = found(0, 0)
    assert math.isnan(case.mismatch_ratio) and not case.defuse3 and case.core_ml == case.hypoperfused_ml == 0.0
    assert case.record()["mismatch_ratio_said"].startswith("neither core nor hypoperfusion")


def test_the_record_of_a_plain_case() -> None:
    record = found(20, 60, delay_s=8.0).record()
    assert record["mismatch_ratio"] == 3.0 and "mismatch_ratio_said" not in record
    assert record["tmax_ml"] == {"4": 60.0, "6": 60.0, "8": 60.0, "10": 0.0}


def test_the_delay_in_use_is_reported_beside_the_usual_four() -> None:
    assert list(found(5, 60, delay_s=5.0).tmax_ml) == [4.0, 5.0, 6.0, 8.0, 10.0]


def test_ladder_intensity_index_and_side_by_hand() -> None:
    """80 ml late, 20 of them by 12 s; flow of 15, 31, 36 and 39 % of 50 in 10 ml each; volume 3 of 4 where late."""
    cbf, tmax, brain = maps(0, 80)
    tmax.flat[np.flatnonzero(np.indices(tmax.shape)[0] < 10)[:20]] = 12.0
    for number, part in enumerate((0.15, 0.31, 0.36, 0.39)):
        cbf.flat[10 * number : 10 * number + 10] = 50.0 * part
    left = np.indices(tmax.shape)[0] < 10
    case = ischaemia(cbf, tmax, brain, CUBE_CM, cbv=np.where(tmax > 6, 3.0, 4.0), left=left)
    assert case.rcbf_ml == {0.20: 10.0, 0.30: 10.0, 0.34: 20.0, 0.38: 30.0}
    assert (case.intensity_ratio, case.cbv_index, case.side) == (0.25, 0.75, "left")
    record = case.record()
    assert record["rcbf_ml"] == {"20": 10.0, "30": 10.0, "34": 20.0, "38": 30.0}
    assert (record["hir"], record["cbv_index"], record["side"]) == (0.25, 0.75, "left")


def test_ratios_of_nothing_are_said_in_words() -> None:
    cbf, tmax, brain = maps(0, 0)
    case = ischaemia(cbf, tmax, brain, CUBE_CM, cbv=np.full(cbf.shape, 4.0), left=np.indices(cbf.shape)[0] < 10)
    record = case.record()
    assert record["hir"] is None and "cbv_index" not in record and record["side"] == "none"
    assert record["hir_said"] == "no tissue with Tmax above 6 s: no ratio"
    assert {"cbv_index", "side"}.isdisjoint(found(20, 60).record())


def test_both_cuts_are_strict() -> None:
    cbf, tmax, brain = maps(20, 60, delay=6.0)
    cbf[cbf == 10.0] = 15.0  # 30 % of 50 exactly
    case = ischaemia(cbf, tmax, brain, CUBE_CM, contralateral=np.arange(20)[:, None, None] >= np.full((20, 20, 2), 10))
    assert case.core_ml == case.hypoperfused_ml == 0.0


def test_a_mirrored_case_gives_the_mirrored_result() -> None:
    random = np.random.default_rng(0)
    cbf, tmax, brain = maps(20, 60)
    cbf += random.uniform(0, 3, cbf.shape)
    cbf, tmax, brain = (np.pad(volume, ((3, 3), (0, 0), (0, 0))) for volume in (cbf, tmax, brain))
    case = ischaemia(cbf, tmax, brain, CUBE_CM)
    mirrored = ischaemia(cbf[::-1], tmax[::-1], brain[::-1], CUBE_CM)
    assert case.core.any() and case.record() == mirrored.record()
    for name in ("core", "hypoperfused", "penumbra"):
        assert np.array_equal(getattr(case, name)[::-1], getattr(mirrored, name))


@pytest.mark.parametrize("times", [(2, 2, 1), (1, 1, 3)])
def test_finer_voxels_of_the_same_maps_give_the_same_volumes(times: tuple[int, int, int]) -> None:
    volumes = maps(20, 60)
    fine = [np.kron(volume, np.ones(times, volume.dtype)).astype(volume.dtype) for volume in volumes]
    spacing_mm = tuple(s / t for s, t in zip(CUBE_CM, times, strict=True))
    coarse, finer = ischaemia(*volumes, CUBE_CM), ischaemia(*fine, spacing_mm)
    assert coarse.record() == finer.record()


@pytest.mark.parametrize(("ml", "kept"), [(3.0, 3.0), (3.1, 0.0), (0.0, 3.0)])
def test_a_cluster_of_exactly_the_smallest_volume_is_kept(ml: float, kept: float) -> None:
    case = found(3, 3, min_cluster_ml=ml)
    assert (case.core_ml, case.hypoperfused_ml, case.tmax_ml[8.0]) == (kept, kept, kept)


def test_clusters_are_those_of_the_postprocessing() -> None:
    mask = np.random.default_rng(1).random((30, 30, 4)) > 0.6
    for ml in (0.0, 0.01, 0.024, 0.1):
        vox = cluster_vox(ml, (2.0, 2.0, 1.0))
        assert np.array_equal(drop_clusters(mask, ml, (2.0, 2.0, 1.0)), drop_small(mask, vox))


def test_a_given_healthy_side_is_used() -> None:
    cbf, tmax, brain = maps(20, 60)
    right = np.zeros(cbf.shape, bool)
    right[10:] = True
    cbf[10:] = 100.0
    case = ischaemia(cbf, tmax, brain, CUBE_CM, contralateral=right, core_rcbf=0.6)
    assert case.core_ml == 400.0  # the whole left half flows at 50 or 10 against 100
    assert np.array_equal(case.core, relative_cbf(cbf, brain, right) < 0.6)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_masks_of_numbers_as_files_hold_them_are_masks(kind: type) -> None:
    cbf, tmax, brain = maps(20, 60)
    brain[12:] = False
    left = np.zeros_like(brain)
    left[:10] = True
    truth, found = (
        ischaemia(cbf, tmax, whole, CUBE_CM, left=side)
        for whole, side in ((brain, left), (brain.astype(kind), left.astype(kind)))
    )
    assert found.record() == truth.record() and truth.side == "left" and truth.core_ml == 20
    whole, side, right = brain.astype(kind), left.astype(kind), (~left).astype(kind)
    assert np.array_equal(contralateral_side(tmax, whole, side), brain & ~left)
    assert np.array_equal(relative_cbf(cbf, whole, right), relative_cbf(cbf, brain, ~left))
    assert ischaemia(cbf, tmax, whole, CUBE_CM, contralateral=right).core_ml == 20


def test_outside_the_brain_there_is_nothing() -> None:
    cbf, tmax, brain = maps(20, 60)
    brain[0] = False  # takes the first 40 voxels with it
    case = ischaemia(cbf, tmax, brain, CUBE_CM)
    assert (case.core_ml, case.hypoperfused_ml) == (0.0, 20.0)


@pytest.mark.parametrize(
    "wrong", [{"core_rcbf": 0.0}, {"delay_s": -1.0}, {"min_cluster_ml": -0.1}], ids=["rcbf", "delay", "cluster"]
)
def test_cuts_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-PERF-40: threshold rules cannot be applied.*limits above zero"):
        found(1, 2, **wrong)


def test_maps_of_other_shapes_are_refused() -> None:
    cbf, tmax, brain = maps(1, 2)
    with pytest.raises(IslesError, match=r"(?s)E-PERF-40.*\(20, 20, 1\), \(20, 20, 2\)"):
        ischaemia(cbf, tmax[:, :, :1], brain, CUBE_CM)


@pytest.mark.parametrize(
    ("core_ml", "mismatch_ml", "ratio", "fits"),
    [(0.0, 15.0, math.inf, True), (69.999, 55.9, 1.8, True), (70.0, 56.0, 1.8, False), (0.0, 0.0, math.nan, False)],
)
def test_the_profile_alone(core_ml: float, mismatch_ml: float, ratio: float, fits: bool) -> None:
    assert defuse3_profile(core_ml, mismatch_ml, ratio) is fits


@pytest.mark.parametrize(
    ("core_ml", "age", "nihss", "fits"),
    [
        (20.9, 80, 10, True), (21.0, 80, 30, False), (20.0, 80, 9, False),  # group A: 80 years and more
        (30.9, 79, 10, True), (31.0, 79, 19, False), (30.0, 79, 9, False),  # group B
        (31.0, 79, 20, True), (50.9, 79, 20, True), (51.0, 79, 42, False),  # group C
    ],
)  # fmt: skip
def test_the_groups_of_dawn_at_their_limits(core_ml: float, age: int, nihss: int, fits: bool) -> None:
    assert dawn_profile(core_ml, age, nihss) is fits
