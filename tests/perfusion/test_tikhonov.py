from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion import deconvolve
from monai_isles.perfusion.deconvolution import STRENGTHS


def square(aif: np.ndarray) -> np.ndarray:
    padded = np.concatenate([aif, np.zeros(len(aif))]).astype(float)
    return np.array([np.roll(padded, j) for j in range(len(padded))]).T


def test_equals_the_normal_equations(aif, tissue) -> None:
    curves = np.stack([tissue(60, 4, 0), tissue(20, 8, 3)]).astype(np.float64)
    a = square(aif)
    ridge = (0.1 * np.linalg.norm(a, 2)) ** 2 * np.eye(len(a))
    wanted = np.linalg.solve(a.T @ a + ridge, a.T @ np.pad(curves, ((0, 0), (0, len(aif)))).T).T
    found = deconvolve(
        torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, method="tikhonov", level=0.1, chunk=1
    ).numpy()
    assert np.abs(found - wanted).max() < 1e-9 * np.abs(wanted).max()


def test_cross_validation_picks_each_voxels_own_minimum(aif, tissue) -> None:
    rng = np.random.default_rng(0)
    curves = np.stack([tissue(60, 4, 0) + rng.normal(0, sd, len(aif)) for sd in (0.1, 1.0, 3.0)])
    a, padded = square(aif), np.pad(curves, ((0, 0), (0, len(aif))))
    top = np.linalg.norm(a, 2)
    scores = []
    for strength in STRENGTHS:
        hat = a @ np.linalg.solve(a.T @ a + (strength * top) ** 2 * np.eye(len(a)), a.T)
        left = np.eye(len(a)) - hat
        scores.append(((padded @ left.T) ** 2).sum(1) / np.trace(left) ** 2)
    best = [STRENGTHS[k] for k in np.argmin(scores, axis=0)]
    found = deconvolve(torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, method="tikhonov", level="gcv")
    for k, strength in enumerate(best):
        alone = deconvolve(
            torch.from_numpy(curves[k : k + 1]), torch.from_numpy(aif).double(), 1.0, method="tikhonov", level=strength
        )
        assert torch.allclose(found[k], alone[0], rtol=1e-6, atol=1e-9)
    assert best[0] < best[2]


@pytest.mark.parametrize("strength", [0.0, -1.0, 2.0, "lcurve"])
def test_strengths_that_make_no_sense_are_refused(aif, strength) -> None:
    with pytest.raises(IslesError, match="E-PERF-08(?s:.*)tikhonov"):
        deconvolve(torch.zeros(2, len(aif)), torch.from_numpy(aif), 1.0, method="tikhonov", level=strength)


def test_no_bolus_and_curves_of_another_length_are_refused(aif) -> None:
    with pytest.raises(IslesError, match="E-PERF-01: the arterial input function holds no bolus"):
        deconvolve(torch.zeros(2, 20), torch.zeros(20), 1.0, method="tikhonov")
    with pytest.raises(IslesError, match=r"E-PERF-02(?s:.*)tikhonov"):
        deconvolve(torch.zeros(2, 9), torch.from_numpy(aif), 1.0, method="tikhonov")
