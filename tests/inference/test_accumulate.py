"""Sums over windows are plain means and deviations, worked out by hand."""

from __future__ import annotations

import torch

from monai_isles.inference.accumulate import WindowSums


def test_mean_and_deviation_are_taken_over_the_windows_that_saw_a_voxel() -> None:
    sums = WindowSums((4, 1, 1), torch.device("cpu"))
    windows = torch.tensor([[0.2, 0.4], [0.8, 0.6]]).reshape(2, 1, 2, 1, 1)  # the last class of two windows
    probability = torch.cat([1 - windows, windows], 1)
    sums.add([(slice(0, 2), slice(0, 1), slice(0, 1)), (slice(1, 3), slice(0, 1), slice(0, 1))], probability)
    mean, deviation = sums.close()
    torch.testing.assert_close(mean[1, :, 0, 0], torch.tensor([0.2, 0.6, 0.6, 0.0]))
    torch.testing.assert_close(mean[0, :3, 0, 0], 1 - mean[1, :3, 0, 0])
    torch.testing.assert_close(deviation[0, :, 0, 0], torch.tensor([0.0, 0.2, 0.0, 0.0]), atol=1e-3, rtol=0)


def test_without_windows_there_are_two_classes_of_zeros() -> None:
    mean, deviation = WindowSums((3, 2, 1), torch.device("cpu")).close()
    assert mean.shape == (2, 3, 2, 1) and deviation.shape == (1, 3, 2, 1) and not mean.any() and not deviation.any()
