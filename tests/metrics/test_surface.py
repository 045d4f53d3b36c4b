"""Surface distances by hand, against MedPy, MONAI and SciPy, and under motions that must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from medpy.metric import binary as medpy_binary
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.spatial.distance import directed_hausdorff

from monai_isles.errors import IslesError
from monai_isles.metrics import assd_half_sum_mm, assd_mm, hd95_mm, hd_mm, hd_vox, surface_distances

METRICS = (hd_mm, hd95_mm, assd_mm, assd_half_sum_mm)


def _points(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = (10, 10, 4)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(np.transpose(voxels))] = True
    return mask


def test_two_single_voxels_are_their_distance_apart() -> None:
    pred, ref = _points((1, 1, 0)), _points((4, 5, 1))
    expected = math.sqrt((3 * 1.0) ** 2 + (4 * 2.0) ** 2 + 5.0**2)
    assert [metric(pred, ref, (1.0, 2.0, 5.0)) for metric in METRICS] == pytest.approx([expected] * 4)
    assert hd_vox(pred, ref) == pytest.approx(math.sqrt(9 + 16 + 1))


def test_the_two_means_differ_as_the_two_papers_define_them() -> None:
    pred, ref = _points((0, 0, 0)), _points((0, 0, 0), (3, 0, 0), (6, 0, 0))
    spacing = (1.0, 1.0, 5.0)
    assert assd_mm(pred, ref, spacing) == pytest.approx((0 + 0 + 3 + 6) / 4)  # Wang 2020: one mean over four voxels
    assert assd_half_sum_mm(pred, ref, spacing) == pytest.approx((0 + (0 + 3 + 6) / 3) / 2)  # Abulnaga 2018
    assert hd_mm(pred, ref, spacing) == 6.0


def test_the_percentile_is_the_larger_of_two_directed_ones() -> None:
    pred, ref = _points((0, 0, 0)), _points((0, 0, 0), (3, 0, 0), (6, 0, 0))
    # sorted 0, 3, 6; position 0.95 * 2 = 1.9 between 3 and 6
    assert hd95_mm(pred, ref, (1, 1, 5)) == pytest.approx(3 + 0.9 * 3)


def test_a_hole_in_the_middle_counts_by_its_surface() -> None:
    full = np.zeros((9, 9, 9), bool)
    full[1:8, 1:8, 1:8] = True
    holed = full.copy()
    holed[4, 4, 4] = False
    # the six neighbours of the hole are surface; each lies 2 voxels under the nearest outer face layer
    assert hd_mm(holed, full, (1, 1, 1)) == pytest.approx(2.0)


def test_every_voxel_of_a_two_slice_volume_is_surface() -> None:
    full = np.ones((6, 5, 2), bool)
    assert surface_distances(full, full, (1, 1, 8)).from_pred.size == 60


def test_two_slice_lesions_one_slice_apart_are_one_slice_thickness_away() -> None:
    pred, ref = np.zeros((8, 8, 2), bool), np.zeros((8, 8, 2), bool)
    pred[2:5, 2:5, 0], ref[2:5, 2:5, 1] = True, True
    assert [metric(pred, ref, (0.9, 0.9, 6.5)) for metric in METRICS] == pytest.approx([6.5] * 4)


def test_medpy_agrees_on_every_pair(mask_pairs: list) -> None:
    for pred, ref, spacing in mask_pairs:
        assert hd_mm(pred, ref, spacing) == pytest.approx(medpy_binary.hd(pred, ref, spacing), abs=1e-6)
        assert assd_mm(pred, ref, spacing) == pytest.approx(medpy_binary.assd(pred, ref, spacing), abs=1e-6)
        half = (medpy_binary.asd(pred, ref, spacing) + medpy_binary.asd(ref, pred, spacing)) / 2
        assert assd_half_sum_mm(pred, ref, spacing) == pytest.approx(half, abs=1e-6)
        assert hd_vox(pred, ref) == pytest.approx(medpy_binary.hd(pred, ref), abs=1e-6)


def test_medpy_pools_the_percentile_of_the_same_distances(mask_pairs: list) -> None:
    for pred, ref, spacing in mask_pairs:
        distances = surface_distances(pred, ref, spacing)
        pooled = np.percentile(np.concatenate([distances.from_pred, distances.from_ref]), 95)
        assert pooled == pytest.approx(medpy_binary.hd95(pred, ref, spacing), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
def test_monai_agrees_with_spacing(mask_pairs: list) -> None:
    for pred, ref, spacing in mask_pairs[::4]:
        one_hot = [torch.from_numpy(m.copy())[None, None].float() for m in (pred, ref)]
        given = {"include_background": True, "spacing": list(spacing)}
        assert hd_mm(pred, ref, spacing) == pytest.approx(
            float(compute_hausdorff_distance(*one_hot, **given)), abs=1e-4
        )
        ninety_five = float(compute_hausdorff_distance(*one_hot, percentile=95, **given))
        assert hd95_mm(pred, ref, spacing) == pytest.approx(ninety_five, abs=1e-4)
        pooled = float(compute_average_surface_distance(*one_hot, symmetric=True, **given))
        assert assd_mm(pred, ref, spacing) == pytest.approx(pooled, abs=1e-4)


def test_scipy_directed_hausdorff_agrees_on_thin_masks(mask_pairs: list) -> None:
    for pred, ref, spacing in (p for p in mask_pairs if p[0].shape[2] <= 2):
        clouds = [np.argwhere(m) * spacing for m in (pred, ref)]
        expected = max(directed_hausdorff(*clouds)[0], directed_hausdorff(*clouds[::-1])[0])
        assert hd_mm(pred, ref, spacing) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_flips_turns_and_padding_change_nothing(metric, mask_pairs: list) -> None:
    for pred, ref, spacing in mask_pairs[:30]:
        value = metric(pred, ref, spacing)
        turned = (spacing[1], spacing[0], spacing[2])
        assert metric(pred[::-1], ref[::-1], spacing) == pytest.approx(value, abs=1e-9)
        assert metric(pred[:, :, ::-1], ref[:, :, ::-1], spacing) == pytest.approx(value, abs=1e-9)
        assert metric(np.rot90(pred), np.rot90(ref), turned) == pytest.approx(value, abs=1e-9)
        padded = [np.pad(m, 3) for m in (pred, ref)]
        assert metric(*padded, spacing) == pytest.approx(value, abs=1e-9)
        assert metric(ref, pred, spacing) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_distances_scale_with_the_spacing(metric, mask_pairs: list) -> None:
    for pred, ref, spacing in mask_pairs[:20]:
        doubled = tuple(2 * s for s in spacing)
        assert metric(pred, ref, doubled) == pytest.approx(2 * metric(pred, ref, spacing), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_the_written_rule_holds_for_empty_masks(metric) -> None:
    empty, one = np.zeros((4, 4, 2)), np.ones((4, 4, 2))
    assert metric(empty, empty, (1, 1, 5)) == 0.0
    assert math.isnan(metric(one, empty, (1, 1, 5))) and math.isnan(metric(empty, one, (1, 1, 5)))


def test_a_slice_is_measured_in_the_plane() -> None:
    pred, ref = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    pred[0, 0], ref[3, 4] = True, True
    assert hd_mm(pred, ref, (1.0, 2.0)) == pytest.approx(math.sqrt(9 + 64)) and hd_vox(pred, ref) == pytest.approx(5.0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, -5.0), (1.0, 1.0, float("nan"))])
def test_a_spacing_that_does_not_fit_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-03: spacing does not fit the volume.*for 3 axes.*positive"):
        hd_mm(np.ones((3, 3, 2)), np.ones((3, 3, 2)), spacing)


def test_shapes_and_values_are_checked() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-01: masks differ"):
        hd_mm(np.ones((3, 3, 2)), np.ones((3, 3, 1)), (1, 1, 1))
    with pytest.raises(IslesError, match=r"(?s)E-MET-02: mask is not binary"):
        hd_mm(np.full((3, 3, 2), 0.5), np.ones((3, 3, 2)), (1, 1, 1))
