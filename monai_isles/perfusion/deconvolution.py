"""Compute residue functions from tissue curves by singular value decomposition, and find the maxima of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused

Solver = Callable[[Tensor, Tensor], Tensor]


def circulant_inverse(aif: Tensor, dt_s: float, *, truncation: float) -> Tensor:
    """Return the truncated pseudo-inverse of the block-circulant matrix of ``aif``, in 1 / (unit of ``aif`` x s).

    Shapes: ``aif`` (T,), out (2 T, T): the second half of the zero-padded tissue curve is zero and left out.
    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522.
    """
    u, s, vh = artery_factors(aif, dt_s)
    return truncated_inverse(u, s, vh, truncation)[:, : aif.numel()]


def artery_factors(aif: Tensor, dt_s: float, *, circular: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Return the decomposition (u, s, vh) of the block-circulant (2 T, 2 T) or triangular (T, T) matrix, in double."""
    if not torch.isfinite(aif).all() or float(aif.abs().sum()) == 0.0:
        raise refused("E-PERF-01", where="aif", found=f"{aif.numel()} frames, sum {float(aif.sum()):.3g}")
    # Padding to twice the length keeps a late tissue curve from wrapping around to the start.
    padded = torch.cat([aif.double(), torch.zeros_like(aif, dtype=torch.float64)])
    size = padded.numel()
    # Circulant: a shift of the tissue curve only rotates the residue, so delay does not change its height.
    index = (torch.arange(size)[:, None] - torch.arange(size)[None, :]) % size
    square = padded[index] * dt_s
    # The upper left quarter is lower triangular: no tissue curve before the artery.
    return torch.linalg.svd(square if circular else square[: aif.numel(), : aif.numel()])


def truncated_inverse(u: Tensor, s: Tensor, vh: Tensor, truncation: float) -> Tensor:
    """Return the pseudo-inverse without the singular values below ``truncation`` times the largest."""
    # Small singular values carry noise divided by almost nothing: dropped altogether.
    kept = torch.where(s >= truncation * s[0], 1.0 / s, torch.zeros_like(s))
    return (vh.T * kept) @ u.T


def require_fit(curves: Tensor, aif: Tensor, where: str) -> None:
    """Raise ``E-PERF-02`` unless ``curves`` is (voxels, frames) with the frames of ``aif``."""
    if curves.ndim != 2 or curves.shape[1] != aif.numel():
        found = f"curves of shape {tuple(curves.shape)}, {aif.numel()} arterial frames"
        raise refused("E-PERF-02", where=where, found=found)


def triangular_inverse(aif: Tensor, dt_s: float, *, level: float, damped: bool = False) -> Tensor:
    """Return the pseudo-inverse (2 T, T) of the lower triangular matrix of ``aif``; time before zero, below, is zero.

    It assumes that tissue follows the artery: a curve that comes later gives less flow, one that comes before is wrong.
    ``level`` is the part of the largest singular value below which values are dropped, or by which all are ``damped``.

    Source: Østergaard et al., Magn Reson Med 1996, doi:10.1002/mrm.1910360510; damped (Tikhonov): Calamante et al.,
    Magn Reson Med 2003, doi:10.1002/mrm.10634; ``tests/perfusion/test_deconvolution.py``.
    """
    u, s, vh = artery_factors(aif, dt_s, circular=False)
    inverse = (vh.T * (s / (s**2 + (level * s[0]) ** 2))) @ u.T if damped else truncated_inverse(u, s, vh, level)
    return torch.cat([inverse, torch.zeros_like(inverse)])


TRUNCATIONS = tuple(round(0.01 * step, 2) for step in range(1, 51))


def oscillation_index(residue: Tensor, dt_s: float = 1.0) -> Tensor:
    """Return the oscillation index (V,) of residue functions (V, L): summed bends over length and height.

    The bends of a given curve grow with the square of the step, so they are divided by it, in seconds: the index of a
    residue function does not depend on how often it was sampled, and is that of the source at a step of 1 s.

    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522, equation 9; the step is ours.

    >>> float(oscillation_index(torch.ones(1, 10))[0])
    0.0
    """
    bends = residue[:, 2:] - 2 * residue[:, 1:-1] + residue[:, :-2]
    return bends.abs_().sum(1) / (dt_s**2 * residue.shape[1] * residue.amax(1).clamp_min(1e-12))


def oscillation_solver(like: Tensor, aif: Tensor, dt_s: float, *, limit: float) -> Solver:
    """Return what deconvolves curves (V, T) into out (V, 2 T), the inverses of the grid made once."""
    # Each curve takes the least truncation whose oscillation index stays within ``limit``; one that none smooths keeps
    # the strongest. All voxels share one matrix product per truncation; those that are smooth enough are finished.
    u, s, vh = artery_factors(aif.cpu(), dt_s)
    # Neighbours of the grid that drop the same singular values have one inverse.
    levels = {int((s >= truncation * s[0]).sum()): truncation for truncation in reversed(TRUNCATIONS)}
    inverses = [
        truncated_inverse(u, s, vh, level)[:, : aif.numel()].to(like).T.contiguous()
        for level in sorted(levels.values())
    ]

    def solve(curves: Tensor, out: Tensor) -> Tensor:
        active, part = torch.arange(len(curves), device=curves.device), curves
        for inverse in inverses:
            residue = part @ inverse
            out[active] = residue
            # Voxels calm enough keep this residue; the others go on to a stronger truncation.
            wild = oscillation_index(residue, dt_s) > limit
            active, part = active[wild], part[wild]
            if not len(active):
                break
        return out

    return solve


STRENGTHS = tuple(float(s) for s in torch.logspace(-2.0, 0.0, 33).tolist())
GCV = "gcv"


def tikhonov_solver(like: Tensor, aif: Tensor, dt_s: float, *, strength: float | str) -> Solver:
    """Return what deconvolves curves (V, T) into out (V, 2 T), every singular value s damped by s^2 / (s^2 + (a s0)^2).

    ``strength`` is a, a part of the largest s0; or ``GCV``: each voxel's own, of ``STRENGTHS`` the one with the
    smallest generalised cross-validation.
    """
    size = 2 * aif.numel()
    u, s, vh = artery_factors(aif.cpu(), dt_s)
    levels = STRENGTHS if strength == GCV else (float(strength),)
    damped = torch.stack([s / (s**2 + (level * s[0]) ** 2) for level in levels])
    kept = damped * s
    left = u[: aif.numel()].to(like)
    right, filters = vh.to(like), damped.to(like)
    # Generalised cross-validation: misfit over squared degrees of freedom, for every strength at once.
    missed = ((1 - kept) ** 2 / (size - kept.sum(1, keepdim=True)) ** 2).T.to(like)

    def solve(curves: Tensor, out: Tensor) -> Tensor:
        parts = curves @ left
        chosen = filters[(parts.square() @ missed).argmin(1)] if len(levels) > 1 else filters
        return torch.matmul(parts * chosen, right, out=out)

    return solve


METHODS: dict[str, float] = {
    "bayes": 0.5, "learned": 0.5, "bcsvd": 0.10, "osvd": 0.035, "tikhonov": 0.10, "ssvd": 0.15, "stikhonov": 0.10,
}  # fmt: skip
METHOD, CONVENTIONAL = "learned", "bcsvd"


def chosen_method(method: str | None, truncation: float | str | None) -> tuple[str, float | str]:
    """Return the method and its setting; by default ``learned``, or ``bcsvd`` where a truncation is given."""
    method = method or (METHOD if truncation is None else CONVENTIONAL)
    level = METHODS.get(method, 0.0) if truncation is None else truncation
    level = float(level) if isinstance(level, np.floating) else level
    number = isinstance(level, float) and 0 < level < 1
    if method not in METHODS or not (number or (method == "tikhonov" and level == GCV)):
        found = f"{method!r}, {truncation!r}"
        raise refused("E-PERF-08", where="method and truncation", found=found, methods=", ".join(METHODS))
    return method, level


def residue_solver(like: Tensor, aif: Tensor, dt_s: float, method: str, level: Any) -> Solver:
    """Return what deconvolves curves (V, T) into out (V, 2 T) by a method of ``deconvolve``."""
    require_fit(like, aif, method)
    if method == "osvd":
        return oscillation_solver(like, aif, dt_s, limit=level)
    if method == "tikhonov":
        return tikhonov_solver(like, aif, dt_s, strength=level)
    if method == "bcsvd":
        inverse = circulant_inverse(aif.cpu(), dt_s, truncation=level)
    else:
        inverse = triangular_inverse(aif.cpu(), dt_s, level=level, damped=method == "stikhonov")
    matrix = inverse.to(like).T.contiguous()
    return lambda curves, out: torch.matmul(curves, matrix, out=out)


def deconvolve(
    curves: Tensor, aif: Tensor, dt_s: float, *, method: str = CONVENTIONAL, level: float | str | None = None,
    chunk: int = 65536,
) -> Tensor:  # fmt: skip
    """Deconvolve tissue curves by the arterial curve; by ``bcsvd``, ``osvd`` and ``tikhonov`` delay only shifts them.

    Shapes: ``curves`` (V, T), ``aif`` (T,), out (V, 2 T), residue function times flow, dtype of ``curves``.
    Units: ``curves`` and ``aif`` share theirs; out in 1/s.

    Args:
        method: ``bcsvd`` drops singular values below the part ``level`` of the largest, ``osvd`` as few as keep the
            oscillation index within it, ``tikhonov`` damps them by it (or ``"gcv"``); ``ssvd`` and ``stikhonov`` are
            the same without the circulant matrix.
        level: the setting of the method; that of ``METHODS`` when None.
        chunk: number of curves deconvolved at once.

    Raises: ``E-PERF-01`` no bolus, ``E-PERF-02`` curves of another length, ``E-PERF-08`` no such method or level.

    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522; Tikhonov Calamante et al., Magn Reson Med 2003,
    doi:10.1002/mrm.10634, its cross-validation Golub et al., Technometrics 1979, doi:10.1080/00401706.1979.10489751;
    equal to loops over voxels in ``tests/perfusion``.

    >>> aif = torch.tensor([0.0, 1.0, 0.5, 0.2, 0.0, 0.0])
    >>> deconvolve(0.02 * aif[None], aif, 1.0).shape
    torch.Size([1, 12])
    """
    solve = residue_solver(curves, aif, dt_s, *chosen_method(method, level))
    out = curves.new_empty(len(curves), 2 * aif.numel())
    for start in range(0, len(curves), chunk):
        solve(curves[start : start + chunk], out[start : start + chunk])
    return out


def residue_peaks(residue: Tensor, latest: int | None = None) -> tuple[Tensor, Tensor]:
    """Return height (V,) and position (V,) in frames of the largest value of circular residues (V, L).

    The position is that of the parabola through the largest value and its neighbours; the last quarter of the circle
    is time before zero, and counts as negative. After frame ``latest`` no peak is sought, up to the last quarter; those
    values of ``residue`` become zero.
    """
    length = residue.shape[1]
    if latest is not None:
        residue[:, latest + 1 : math.ceil(0.75 * length)] = 0.0
    height, position = _parabola(residue, _largest(residue))
    return height, torch.where(position >= 0.75 * length, position - length, position)


def curve_peaks(curves: Tensor) -> Tensor:
    """Return the position (V,) in frames of the largest value of curves (V, T), smoothed over three frames."""
    calm = torch.empty_like(curves)
    torch.add(curves[:, :-2], curves[:, 2:], out=calm[:, 1:-1])
    calm[:, 1:-1] += curves[:, 1:-1]
    torch.add(curves[:, 0], curves[:, 1], out=calm[:, 0]).mul_(1.5)
    torch.add(curves[:, -2], curves[:, -1], out=calm[:, -1]).mul_(1.5)
    return _parabola(calm, _largest(calm).clamp_(1, curves.shape[1] - 2))[1]


def _largest(rows: Tensor) -> Tensor:
    """Return the index (V,) of the largest value of each row."""
    # On the CPU numpy's search is faster than torch's.
    return torch.from_numpy(rows.numpy().argmax(1)) if rows.device.type == "cpu" else rows.argmax(1)


def _parabola(rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the value at ``index`` of circular rows, and the top of the parabola through it and its neighbours."""
    near = (index[:, None] + torch.arange(-1, 2, device=rows.device)) % rows.shape[1]
    before, height, after = rows.gather(1, near).T
    bend = (before - 2 * height + after).clamp_max(-1e-12)
    return height, index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
