"""Sums over passes and windows are plain means and deviations, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.inference.windows import WindowSums, sum_passes


def logits_of(last: torch.Tensor) -> torch.Tensor:
    """Return logits of two classes whose softmax gives ``last`` for the second."""
    return torch.stack([torch.zeros_like(last), (last / (1 - last)).log()], 1)


@pytest.mark.parametrize("flat", [True, False])
def test_mean_and_deviation_are_taken_over_the_windows_that_saw_a_voxel(flat: bool) -> None:
    windows = torch.tensor([[0.2, 0.4], [0.8, 0.6]]).reshape(2, 2, 1)
    sums = WindowSums((4, 1, 1), torch.device("cpu"), flat=flat)
    sums.add(np.array([[0, 0, 0], [1, 0, 0]]), sum_passes([logits_of(windows if flat else windows[..., None])]))
    mean, deviation = sums.close()
    torch.testing.assert_close(mean[1, :, 0, 0], torch.tensor([0.2, 0.6, 0.6, 0.0]))
    torch.testing.assert_close(mean[0, :, 0, 0], torch.tensor([0.8, 0.4, 0.4, 0.0]))
    torch.testing.assert_close(deviation[0, :, 0, 0], torch.tensor([0.0, 0.2, 0.0, 0.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_passes_add_up_to_the_softmax_of_all(classes: int) -> None:
    logits = torch.randn(3, 5, classes, 4, 4, 4) * 3
    sums = WindowSums((4, 4, 4), torch.device("cpu"))
    sums.add(np.zeros((5, 3), int), sum_passes(logits))
    mean, deviation = sums.close()
    each = logits.double().softmax(2).flatten(0, 1)
    torch.testing.assert_close(mean, each.mean(0).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(deviation[0], each[:, -1].std(0, unbiased=False).float(), atol=1e-4, rtol=0)


def test_slices_go_back_to_their_own_axis() -> None:
    sums = WindowSums((3, 4, 5), torch.device("cpu"), flat=True)
    sums.add(np.array([[1, 0, 4]]), sum_passes([torch.zeros(1, 2, 2, 3)]))
    seen = np.zeros((3, 4, 5))
    seen[1:3, 0:3, 4] = 0.5
    np.testing.assert_array_equal(sums.close()[0][1].numpy(), seen)


def test_without_windows_there_are_two_classes_of_zeros() -> None:
    mean, deviation = WindowSums((3, 2, 1), torch.device("cpu")).close()
    assert mean.shape == (2, 3, 2, 1) and deviation.shape == (1, 3, 2, 1) and not mean.any() and not deviation.any()
