"""Thresholding and the minimum component size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_isles import postprocessing
from monai_isles.errors import IslesError
from monai_isles.postprocessing import Binarised, binarise


def _two_blobs() -> np.ndarray:
    probability = np.zeros((8, 6, 2), dtype=np.float32)
    probability[0, 0:3, 0] = 0.9  # three voxels
    probability[4:6, 0:2, 1] = 0.9  # four voxels
    return probability


def test_the_threshold_is_strict() -> None:
    probability = np.array([[[0.5, 0.5000001, 0.4999999]]])
    assert binarise(probability, 0.5, 0).tolist() == [[[False, True, False]]]


def test_the_threshold_is_strict_in_single_precision() -> None:
    assert not binarise(np.full((2, 2, 1), 0.1, dtype=np.float32), 0.1, 0).any()


@pytest.mark.parametrize(("size", "kept"), [(0, 7), (1, 7), (2, 7), (3, 7), (4, 4), (5, 0)])
def test_a_component_of_exactly_the_minimum_size_is_kept(size: int, kept: int) -> None:
    mask = binarise(_two_blobs(), 0.5, size)
    assert mask.dtype == np.bool_ and int(mask.sum()) == kept


def test_voxels_that_touch_by_an_edge_or_a_corner_are_two_components() -> None:
    diagonal = np.zeros((4, 4, 2))
    diagonal[1, 1, 0] = diagonal[2, 2, 0] = diagonal[3, 3, 1] = 1.0
    assert not binarise(diagonal, 0.5, 2).any()
    diagonal[1, 2, 0] = 1.0  # joins the first two by faces
    assert int(binarise(diagonal, 0.5, 2).sum()) == 3


def test_components_join_across_slices() -> None:
    column = np.zeros((3, 3, 5))
    column[1, 1, :] = 0.8
    assert int(binarise(column, 0.5, 5).sum()) == 5


def test_a_plain_flood_fill_agrees_on_random_maps() -> None:
    random = np.random.default_rng(1)
    for _ in range(10):
        probability = random.random((7, 6, 3))
        assert np.array_equal(binarise(probability, 0.55, 4), _flood(probability > 0.55, 4))


def _flood(mask: np.ndarray, size: int) -> np.ndarray:
    left, out = {tuple(v) for v in np.argwhere(mask)}, np.zeros_like(mask)
    while left:
        queue, seen = [left.pop()], []
        while queue:
            i, j, k = queue.pop()
            seen.append((i, j, k))
            for n in ((i - 1, j, k), (i + 1, j, k), (i, j - 1, k), (i, j + 1, k), (i, j, k - 1), (i, j, k + 1)):
                if n in left:
                    left.remove(n)
                    queue.append(n)
        if len(seen) >= size:
            out[tuple(np.transpose(seen))] = True
    return out


def test_an_empty_map_stays_empty_and_a_full_one_full() -> None:
    assert not binarise(np.zeros((4, 4, 2)), 0.0, 10).any()
    assert binarise(np.ones((4, 4, 2)), 0.5, 32).all() and not binarise(np.ones((4, 4, 2)), 0.5, 33).any()


def test_the_input_is_not_changed() -> None:
    probability = _two_blobs()
    before = probability.copy()
    binarise(probability, 0.5, 4)
    assert np.array_equal(probability, before)


def test_the_transform_keeps_the_affine_and_equals_the_function() -> None:
    affine = torch.diag(torch.tensor([0.9, 0.9, 5.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.from_numpy(_two_blobs())[None], affine=affine)
    out = Compose([Binarised("pred", threshold=0.5, min_size_vox=4)])({"pred": image, "case": "case_1"})
    assert out["case"] == "case_1" and isinstance(out["pred"], MetaTensor) and out["pred"].dtype == torch.uint8
    assert torch.equal(out["pred"].affine, affine) and out["pred"].shape == image.shape
    assert np.array_equal(out["pred"].numpy()[0] > 0, binarise(_two_blobs(), 0.5, 4))


@pytest.mark.parametrize(("ml", "kept"), [(0.024, 7), (0.025, 4), (0.033, 0)])
def test_the_smallest_component_may_be_a_volume(ml: float, kept: int) -> None:
    image = MetaTensor(torch.tensor(_two_blobs())[None], affine=np.diag([2.0, 2.0, 2.0, 1.0]))  # 8 mm3 a voxel
    step = Binarised("lesion", threshold=0.5, min_size_vox=None, min_cluster_ml=ml)
    assert int(step({"lesion": image})["lesion"].sum()) == kept


def test_a_volume_without_an_affine_counts_voxels_of_1_mm() -> None:
    step = Binarised("lesion", threshold=0.5, min_size_vox=None, min_cluster_ml=0.004)
    assert int(step({"lesion": torch.tensor(_two_blobs())[None]})["lesion"].sum()) == 4


def test_a_plain_tensor_stays_a_plain_tensor() -> None:
    out = Binarised("pred", 0.5, 0)({"pred": torch.from_numpy(_two_blobs())[None]})["pred"]
    assert type(out) is torch.Tensor and int(out.sum()) == 7


def test_two_channels_are_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-POST-04: one lesion channel.*pred.*\(2, 4, 4, 1\)"):
        Binarised("pred", 0.5, 0)({"pred": torch.zeros(2, 4, 4, 1)})


@pytest.mark.parametrize(
    "values", [[0.2, np.nan], [0.2, 1.2], [-0.5, 0.3], [3.0, -2.0]], ids=["nan", "above", "below", "logits"]
)
def test_values_that_are_no_probability_are_refused(values: list[float]) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-POST-01: not a probability.*softmax"):
        binarise(np.array(values).reshape(1, 2, 1), 0.5, 0)


def test_the_rounding_of_an_average_is_accepted() -> None:
    assert binarise(np.full((2, 2, 1), 1.0000001), 0.5, 0).all()


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(threshold: float) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-POST-02: threshold is not a probability"):
        binarise(_two_blobs(), threshold, 0)


@pytest.mark.parametrize("size", [-1, 2.5])
def test_a_size_that_is_no_count_is_refused(size: float) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-POST-03: component size is not a voxel count.*whole number"):
        Binarised("pred", 0.5, size)  # type: ignore[arg-type]


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(postprocessing, name) is not None for name in postprocessing.__all__)
    with pytest.raises(AttributeError, match="attribute (nothing|nonsense)"):
        _ = postprocessing.nothing
