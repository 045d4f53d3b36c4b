"""Noise-free curves with known flow, transit time and delay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

DT_S, FRAMES, FINE_S = 1.0, 60, 0.02


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def aif() -> np.ndarray:
    """An arterial curve with its peak near 10 s, 250 HU high."""
    return _arterial(np.arange(FRAMES) * DT_S).astype(np.float32)


@pytest.fixture(scope="session")
def tissue() -> Callable[[float, float, float], np.ndarray]:
    """A function (cbf, mtt_s, delay_s) -> curve (T,) in HU, by direct convolution on a fine grid."""

    def curve(cbf: float, mtt_s: float, delay_s: float) -> np.ndarray:
        t = np.arange(0, FRAMES * DT_S, FINE_S)
        passed = np.convolve(_arterial(t), np.exp(-t / mtt_s))[: len(t)] * FINE_S
        shifted = np.interp(t - delay_s, t, passed, left=0.0)
        return (cbf / 6000.0 * 1.04 / 0.73 * shifted)[:: round(DT_S / FINE_S)].astype(np.float32)

    return curve


def _arterial(t: np.ndarray) -> np.ndarray:
    return 250.0 * stats.gamma.pdf(t - 5.0, 4.0, scale=1.5) / stats.gamma.pdf(4.5, 4.0, scale=1.5)
