from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_isles.perfusion import correct_motion
from monai_isles.perfusion.motion import head_motion
from monai_isles.phantom.ct.kinetics import drift, shift_image

SPACING = (1.0, 1.0, 5.0)


def head(frames: int, *, contrast_hu: float = 0.0) -> np.ndarray:
    """A round head with a skull, a ventricle and a bright vessel that fills in the second half of the frames."""
    x, y = np.meshgrid(np.arange(160) - 80.0, np.arange(160) - 76.0, indexing="ij")
    r = np.hypot(x / 0.85, y)
    image = np.select([r < 54, r < 59, r < 64], [35.0, 1000.0, 20.0], -1000.0)
    image[np.hypot(x, y + 8) < 9] = 6.0
    image = np.repeat(ndimage.gaussian_filter(image, 0.7)[..., None], 2, axis=2)
    series = np.repeat(image[None], frames, axis=0)
    series[frames // 2 :, np.hypot(x - 20, y) < 5] += contrast_hu
    series[frames // 2 :, r < 54] += 0.05 * contrast_hu
    return series + np.random.default_rng(0).normal(0, 5, series.shape)


def test_the_phantoms_own_drift_is_found_to_a_twentieth_of_a_millimetre() -> None:
    still = head(12)
    path = drift(np.random.default_rng(3), 12, 0.7)
    series = np.stack([shift_image(frame, step) for frame, step in zip(still, path, strict=True)])
    found = head_motion(torch.from_numpy(series).float(), SPACING)
    wanted = path - path[:3].mean(0)
    assert np.abs(found.path[:, :2] - wanted).max() < 0.05 and np.abs(found.path[:, 2]).max() < 0.05
    assert found.helps


@pytest.mark.parametrize("contrast_hu", [0.0, 250.0], ids=["no-contrast", "bolus"])
def test_a_shift_and_a_turn_made_by_hand_are_found_and_undone(contrast_hu: float) -> None:
    series = head(6, contrast_hu=contrast_hu).astype(np.float32)
    still = series.copy()
    series[4] = ndimage.shift(series[4], (6.0, -4.0, 0), order=1, mode="nearest")
    series[5] = ndimage.rotate(series[5], 3.0, axes=(0, 1), reshape=False, order=1, mode="nearest")
    found = head_motion(torch.from_numpy(series), SPACING)
    assert found.path[4] == pytest.approx([6.0, -4.0, 0.0], abs=0.1)
    assert abs(abs(found.path[5, 2]) - 3.0) < 0.1 and np.abs(found.path[5, :2]).max() < 0.25
    assert found.largest_mm == pytest.approx(np.hypot(6, 4), abs=0.2)
    back = correct_motion(torch.from_numpy(series), found, SPACING).numpy()
    middle = (slice(30, 130), slice(30, 130))
    assert np.abs(back[4:] - still[4:])[:, *middle].mean() < 0.2 * np.abs(series[4:] - still[4:])[:, *middle].mean()


def test_a_head_at_rest_is_left_alone() -> None:
    found = head_motion(torch.from_numpy(head(8, contrast_hu=250.0)).float(), SPACING)
    assert not found.helps and found.largest_mm < 0.1


def test_an_image_without_a_skull_has_no_movement() -> None:
    found = head_motion(torch.zeros(5, 64, 64, 1), SPACING)
    assert not found.helps and found.path.shape == (5, 3) and not found.path.any()
