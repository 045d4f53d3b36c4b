from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.ct.kinetics import drift, scanner_noise, shift_image


def test_noise_has_the_asked_spread_and_a_ramp_at_low_frequencies() -> None:
    noise = scanner_noise(np.random.default_rng(0), (8, 256, 256), 5.0, 0.9)
    assert noise.std() == pytest.approx(5.0, rel=0.03)
    power = np.abs(np.fft.rfft2(noise)).mean(0)
    assert power[0, 2:4].mean() < 0.6 * power[0, 30:50].mean() > power[0, 110:].mean()


def test_movement_stays_within_its_amplitude_and_starts_at_rest() -> None:
    path = drift(np.random.default_rng(1), 50, 0.6)
    assert np.abs(path).max() <= 0.6001 and not path[0].any()


def test_half_a_voxel_moves_the_centre_of_mass_by_half_a_voxel() -> None:
    image = np.zeros((20, 20, 1))
    image[10, 10] = 1.0
    out = shift_image(image, np.array([0.5, -0.25]))
    assert (out[:, :, 0].sum(1) * np.arange(20)).sum() == pytest.approx(10.5)
    assert (out[:, :, 0].sum(0) * np.arange(20)).sum() == pytest.approx(9.75)
