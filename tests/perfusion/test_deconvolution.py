from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion import deconvolve
from monai_isles.perfusion.deconvolution import circulant_inverse, triangular_inverse
from monai_isles.perfusion.maps import voxel_maps


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
    fast = deconvolve(torch.from_numpy(curves), torch.from_numpy(aif).double(), 1.0, level=0.15)
    slow = loop_reference(curves, aif, 1.0, 0.15)
    assert np.abs(fast.numpy() - slow).max() < 1e-6 * np.abs(slow).max()


def test_chunks_change_nothing(aif, tissue) -> None:
    curves = torch.from_numpy(np.stack([tissue(10 * k, 4, k) for k in range(1, 8)]))
    whole = deconvolve(curves, torch.from_numpy(aif), 1.0)
    assert torch.allclose(whole, deconvolve(curves, torch.from_numpy(aif), 1.0, chunk=3), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("delay_s", [1, 4, 8], ids=lambda d: f"{d}s")
def test_a_late_bolus_changes_the_time_of_the_peak_and_not_its_height(aif, tissue, delay_s) -> None:
    curves = torch.from_numpy(np.stack([tissue(40, 4, 0), tissue(40, 4, delay_s)]))
    peak, index = deconvolve(curves, torch.from_numpy(aif), 1.0).max(dim=1)
    assert float(peak[1] / peak[0]) == pytest.approx(1.0, abs=0.03)
    assert int(index[1] - index[0]) == delay_s


def test_a_bolus_earlier_than_the_artery_wraps_round_instead_of_losing_flow(aif, tissue) -> None:
    early = np.roll(tissue(40, 4, 0), -2)
    residue = deconvolve(torch.from_numpy(np.stack([tissue(40, 4, 0), early])), torch.from_numpy(aif), 1.0)
    assert float(residue[1].max() / residue[0].max()) == pytest.approx(1.0, abs=0.03)


def test_an_arterial_curve_without_bolus_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-PERF-01: the arterial input function holds no bolus\n.*aif\n.*20 frames"):
        circulant_inverse(torch.zeros(20), 1.0, truncation=0.1)


def test_curves_of_another_length_are_refused(aif) -> None:
    with pytest.raises(
        IslesError, match=r"E-PERF-02: tissue curves and arterial curve differ in length(?s:.*)\(5, 9\).*60"
    ):
        deconvolve(torch.zeros(5, 9), torch.from_numpy(aif), 1.0)


@pytest.mark.parametrize("damped", [False, True], ids=["truncated", "damped"])
def test_the_triangular_form_solves_the_lower_triangular_system(aif, tissue, damped) -> None:
    curves = np.stack([tissue(60, 4, 0), tissue(20, 8, 3)]).astype(np.float64)
    a = np.array([[aif[i - j] * 2.0 if i >= j else 0.0 for j in range(len(aif))] for i in range(len(aif))], float)
    u, s, vh = np.linalg.svd(a)
    weights = s / (s**2 + (0.1 * s[0]) ** 2) if damped else np.where(s >= 0.1 * s[0], 1 / s, 0.0)
    wanted = ((vh.T * weights) @ u.T @ curves.T).T
    inverse = triangular_inverse(torch.from_numpy(aif).double(), 2.0, level=0.1, damped=damped)
    found = (torch.from_numpy(curves) @ inverse.T).numpy()
    assert np.abs(found[:, : len(aif)] - wanted).max() < 1e-8 * np.abs(wanted).max()
    assert not found[:, len(aif) :].any()


@pytest.mark.parametrize("method", ["ssvd", "stikhonov"])
def test_the_triangular_form_loses_flow_where_tissue_comes_before_the_artery(aif, tissue, method) -> None:
    curves = torch.from_numpy(np.stack([tissue(40, 4, 2), np.roll(tissue(40, 4, 0), -3)]))
    late, early = voxel_maps(curves, torch.from_numpy(aif), 1.0, method=method, level=0.15)[0]
    circular_late, circular_early = voxel_maps(curves, torch.from_numpy(aif), 1.0, method="bcsvd", level=0.15)[0]
    assert float(circular_early / circular_late) == pytest.approx(1.0, abs=0.03)
    assert abs(float(early / late) - 1.0) > 0.1
