from __future__ import annotations

import pytest
import torch

from monai_isles.perfusion.deconvolution import curve_peaks, residue_peaks


def parabola(length: int, top: float) -> torch.Tensor:
    at = torch.arange(length, dtype=torch.float64)
    away = torch.minimum((at - top).abs(), length - (at - top).abs())
    return (10.0 - away**2)[None]


@pytest.mark.parametrize("top", [7.0, 7.3, 11.75])
def test_the_peak_of_a_parabola_is_found_between_frames(top: float) -> None:
    assert float(residue_peaks(parabola(40, top))[1][0]) == pytest.approx(top)
    assert float(curve_peaks(parabola(40, top))[0]) == pytest.approx(top, abs=0.01)


def test_a_peak_in_the_last_quarter_of_the_circle_is_before_zero() -> None:
    height, at = residue_peaks(parabola(40, 38.0))
    assert float(at[0]) == pytest.approx(-2.0) and float(height[0]) == 10.0
