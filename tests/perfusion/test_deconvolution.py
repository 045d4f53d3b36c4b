from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion import block_circulant_svd, circulant_inverse


def loop_reference(curves: np.ndarray, aif: np.ndarray, dt_s: float, truncation: float) -> np.ndarray:
    """One voxel, one decomposition, as the method is written down."""
    size = 2 * len(aif)
    padded = np.concatenate([aif, np.zeros(len(aif))]).astype(float)
    matrix = np.array([[padded[(i - j) % size] * dt_s for j in range(size)] for i in range(size)])
    out = []
    for curve in curves:
        u, s, vh = np.linalg.svd(matrix)
        weights = np.array([1 / v if v >= truncation * s[0] else 0.0 for v in s])
        out.append(vh.T @ (weights * (u.T @ np.concatenate([curve, np.zeros(len(curve))]))))
    return np.array(out)


def test_matrix_product_equals_a_loop_over_voxels(aif, tissue) -> None:
    curves = np.stack([tissue(60, 4, 0), tissue(20, 8, 3), tissue(5, 12, 9)]).astype(np.float64)
    fast = block_circulant_svd(torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, truncation=0.15)
    slow = loop_reference(curves, aif, 1.0, 0.15)
    assert np.abs(fast.numpy() - slow).max() < 1e-6 * np.abs(slow).max()


def test_chunks_change_nothing(aif, tissue) -> None:
    curves = torch.from_numpy(np.stack([tissue(10 * k, 4, k) for k in range(1, 8)]))
    whole = block_circulant_svd(curves, torch.from_numpy(aif), 1.0)
    assert torch.allclose(whole, block_circulant_svd(curves, torch.from_numpy(aif), 1.0, chunk=3), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("delay_s", [1, 4, 8], ids=lambda d: f"{d}s")
def test_a_late_bolus_changes_the_time_of_the_peak_and_not_its_height(aif, tissue, delay_s) -> None:
    curves = torch.from_numpy(np.stack([tissue(40, 4, 0), tissue(40, 4, delay_s)]))
    peak, index = block_circulant_svd(curves, torch.from_numpy(aif), 1.0).max(dim=1)
    assert float(peak[1] / peak[0]) == pytest.approx(1.0, abs=0.03)
    assert int(index[1] - index[0]) == delay_s


def test_a_bolus_earlier_than_the_artery_wraps_round_instead_of_losing_flow(aif, tissue) -> None:
    early = np.roll(tissue(40, 4, 0), -2)
    residue = block_circulant_svd(torch.from_numpy(np.stack([tissue(40, 4, 0), early])), torch.from_numpy(aif), 1.0)
    assert float(residue[1].max() / residue[0].max()) == pytest.approx(1.0, abs=0.03)


def test_an_arterial_curve_without_bolus_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-PERF-01: the arterial input function holds no bolus\n.*aif\n.*20 frames"):
        circulant_inverse(torch.zeros(20), 1.0, truncation=0.1)


def test_curves_of_another_length_are_refused(aif) -> None:
    with pytest.raises(
        IslesError, match=r"E-PERF-02: tissue curves and arterial curve differ in length(?s:.*)\(5, 9\).*60"
    ):
        block_circulant_svd(torch.zeros(5, 9), torch.from_numpy(aif), 1.0)
