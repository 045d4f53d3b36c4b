"""Find the maxima of curves and residue functions between frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LANES = 64


def residue_peaks(residue: Tensor, latest: int | None = None) -> tuple[Tensor, Tensor]:
    """Return height (V,) and position (V,) in frames of the largest value of circular residues (V, L).

    The position is that of the parabola through the largest value and its neighbours; the last quarter of the circle
    is time before zero, and counts as negative.

    Args:
        latest: frame after which no peak is sought, up to the last quarter; those values of ``residue`` become zero.

    Source: parabolic peak interpolation; ``tests/perfusion/test_peaks.py``.
    """
    length = residue.shape[1]
    if latest is not None:
        residue[:, latest + 1 : math.ceil(0.75 * length)] = 0.0
    index = _largest(residue)
    before, height, after = _around(residue, index)
    bend = (before - 2 * height + after).clamp_max(-1e-12)
    position = index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
    return height, torch.where(position >= 0.75 * length, position - length, position)


def curve_peaks(curves: Tensor) -> Tensor:
    """Return the position (V,) in frames of the largest value of curves (V, T), smoothed over three frames."""
    frames = curves.shape[1]
    wide = curves.new_full((len(curves), -(-frames // _LANES) * _LANES), -torch.inf)
    calm = wide[:, :frames]
    torch.add(curves[:, :-2], curves[:, 2:], out=calm[:, 1:-1])
    calm[:, 1:-1] += curves[:, 1:-1]
    torch.add(curves[:, 0], curves[:, 1], out=calm[:, 0]).mul_(1.5)
    torch.add(curves[:, -2], curves[:, -1], out=calm[:, -1]).mul_(1.5)
    index = _largest(wide).clamp_(1, frames - 2)
    before, top, after = _around(wide, index)
    bend = (before - 2 * top + after).clamp_max(-1e-12)
    return index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)


def _largest(rows: Tensor) -> Tensor:
    """Return the index (V,) of the largest value of each row; numpy's search is faster than torch's, most in rows of
    64, 128 and so on."""
    return torch.from_numpy(rows.numpy().argmax(1)) if rows.device.type == "cpu" else rows.argmax(1)


def _around(rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values before, at and after ``index`` on circular rows."""
    length = rows.shape[1]
    flat, start = rows.flatten(), torch.arange(len(rows), device=rows.device) * length
    before = torch.where(index == 0, length - 1, index - 1)
    after = torch.where(index == length - 1, 0, index + 1)
    return flat[start + before], flat[start + index], flat[start + after]
