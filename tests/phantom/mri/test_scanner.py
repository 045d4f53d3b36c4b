from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.ct.anatomy import Grid, Pose, Subject
from monai_isles.phantom.mri.brain import Brain, brain_of
from monai_isles.phantom.mri.siss import bias_of, record, susceptibility

STILL = {"blur_mm": (0.0, 0.0, 0.0), "snr": 1e6, "misplaced_mm": 0.0, "gain": 100.0}


@pytest.fixture(scope="module")
def brain() -> Brain:
    pose = Pose(0.0, (0.0, 0.0), 0.0, 7.0)
    subject = Subject(np.random.default_rng(1))
    return brain_of(np.random.default_rng(2), subject, pose, Grid((58, 58, 39), (4.0, 4.0, 4.0)))


def test_the_coils_bias_is_smooth_positive_and_as_strong_as_asked(brain: Brain) -> None:
    spreads = [np.log(bias_of(np.random.default_rng(i), brain, 0.15)).std() for i in range(8)]
    assert 0.05 < np.mean(spreads) < 0.2
    field = brain.fill(np.log(bias_of(np.random.default_rng(0), brain, 0.15)))
    inside = brain.fill(np.ones_like(brain.gm)) > 0
    step = np.abs(np.diff(field, axis=0))[inside[1:] & inside[:-1]]
    assert step.max() < 0.05


def test_a_perfect_sequence_returns_signal_times_bias(brain: Brain) -> None:
    bias = bias_of(np.random.default_rng(1), brain, 0.15)  # drawn first
    seen = record(np.random.default_rng(1), brain, brain.gm, STILL | {"bias": 0.15})
    assert np.allclose(seen, 100 * brain.gm * bias, atol=0.05)


def test_noise_is_rician(brain: Brain) -> None:
    noisy = STILL | {"snr": 20.0, "gain": 1.0}
    ones = np.ones_like(brain.gm)
    dark = record(np.random.default_rng(1), brain, 0 * ones, noisy)
    assert dark.mean() == pytest.approx(np.sqrt(np.pi / 2) / 20, rel=0.02)  # Rayleigh where there is no signal
    light = record(np.random.default_rng(1), brain, ones, noisy)
    assert light.std() == pytest.approx(1 / 20, rel=0.03) and light.mean() == pytest.approx(1.0, abs=0.005)


def test_misplacement_moves_the_image_by_a_fraction_of_a_voxel(brain: Brain) -> None:
    ramp = brain.head_mm[:, 0] / 4.0 + 50
    misplaced = STILL | {"misplaced_mm": 2.0, "gain": 1.0}
    shifts = []
    for seed in range(12):
        seen = record(np.random.default_rng(seed), brain, ramp, misplaced)
        shifts.append(np.median((seen - ramp)[brain.depth > 12]))
    assert 0.2 < np.std(shifts) < 1.0  # 2 mm are half a voxel here


def test_susceptibility_brightens_the_skull_base_and_spares_the_vertex(brain: Brain) -> None:
    bright, shift = susceptibility(np.random.default_rng(0), brain)
    base = (brain.atlas_mm[:, 2] < -10) & (brain.atlas_mm[:, 1] > 45)
    top = brain.atlas_mm[:, 2] > 40
    assert bright[base].max() > 1.15 and bright[top].max() < 1.02 and shift[top].max() < 0.1 < shift[base].max()
