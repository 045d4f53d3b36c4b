"""Height and time of the peak of residue functions, between frames."""

from __future__ import annotations

import torch
from torch import Tensor


def residue_peaks(residue: Tensor) -> tuple[Tensor, Tensor]:
    """Return height (V,) and position (V,) in frames of the largest value of circular residues (V, L).

    The position is that of the parabola through the largest value and its neighbours; the last quarter of the circle
    is time before zero, and counts as negative.

    Source: parabolic peak interpolation; ``tests/perfusion/test_peaks.py``.
    """
    length = residue.shape[1]
    height, index = residue.max(dim=1)
    before = residue.gather(1, ((index - 1) % length)[:, None])[:, 0]
    after = residue.gather(1, ((index + 1) % length)[:, None])[:, 0]
    bend = (before - 2 * height + after).clamp_max(-1e-12)
    position = index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
    return height, torch.where(position >= 0.75 * length, position - length, position)


def curve_peaks(curves: Tensor) -> Tensor:
    """Return the position (V,) in frames of the largest value of curves (V, T), smoothed over three frames."""
    calm = torch.nn.functional.avg_pool1d(curves[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    index = calm.argmax(1).clamp(1, curves.shape[1] - 2)
    before, top, after = (calm.gather(1, (index + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = (before - 2 * top + after).clamp_max(-1e-12)
    return index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
