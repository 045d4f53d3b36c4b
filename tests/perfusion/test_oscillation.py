from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion import deconvolve, oscillation_index
from monai_isles.perfusion.deconvolution import TRUNCATIONS


def noisy(aif, tissue) -> np.ndarray:
    curves = np.stack([tissue(60, 4, 0), tissue(20, 8, 3), tissue(5, 12, 9)] * 7).astype(np.float64)
    return curves + np.random.default_rng(0).normal(0, 0.5, curves.shape)


def loop_reference(curves: np.ndarray, aif: np.ndarray, limit: float) -> np.ndarray:
    """One voxel after the other, as the method is written down."""
    size = 2 * len(aif)
    padded = np.concatenate([aif, np.zeros(len(aif))]).astype(float)
    u, s, vh = np.linalg.svd(np.array([[padded[(i - j) % size] for j in range(size)] for i in range(size)]))
    out = []
    for curve in curves:
        for truncation in TRUNCATIONS:
            kept = np.array([1 / v if v >= truncation * s[0] else 0.0 for v in s])
            f = vh.T @ (kept * (u.T @ np.concatenate([curve, np.zeros(len(curve))])))
            if sum(abs(f[k] - 2 * f[k - 1] + f[k - 2]) for k in range(2, size)) / (size * f.max()) <= limit:
                break
        out.append(f)
    return np.array(out)


@pytest.mark.parametrize("limit", [0.035, 0.095])
def test_batches_equal_a_loop_over_voxels(aif, tissue, limit: float) -> None:
    curves = noisy(aif, tissue)
    fast = deconvolve(
        torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, method="osvd", level=limit, chunk=4
    )
    slow = loop_reference(curves, aif, limit)
    assert np.abs(fast.numpy() - slow).max() < 1e-6 * np.abs(slow).max()


def test_noisy_voxels_are_truncated_more_than_calm_ones(aif, tissue) -> None:
    curves = np.stack([tissue(60, 4, 0)] * 2).astype(np.float64)
    curves[1] += np.random.default_rng(0).normal(0, 2.0, curves.shape[1])
    limited = deconvolve(torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, method="osvd", level=0.065)
    weakest = deconvolve(torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, level=0.01)
    assert bool((oscillation_index(limited) <= 0.065).all())
    assert float(oscillation_index(weakest)[1]) > 3 * float(oscillation_index(limited)[1])


def test_the_index_of_a_single_spike_is_by_hand() -> None:
    assert float(oscillation_index(torch.tensor([[0.0, 0.0, 2.0, 0.0, 0.0]]))[0]) == pytest.approx(
        (2 + 4 + 2) / (5 * 2)
    )


def test_curves_of_another_length_are_refused(aif) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-02: tissue curves and arterial curve differ(?s:.*)osvd"):
        deconvolve(torch.zeros(5, 9), torch.from_numpy(aif), 1.0, method="osvd")


def test_the_index_of_a_smooth_curve_does_not_depend_on_the_step() -> None:
    at = {dt: torch.exp(-0.5 * ((torch.arange(0, 80, dt) - 30) / 6) ** 2)[None] for dt in (0.5, 1.0, 2.0)}
    index = {dt: float(oscillation_index(curve, dt)[0]) for dt, curve in at.items()}
    assert index[0.5] == pytest.approx(index[1.0], rel=0.02) and index[2.0] == pytest.approx(index[1.0], rel=0.03)
