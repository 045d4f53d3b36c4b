"""Oscillation-index singular value decomposition: each voxel is truncated as far as its own residue needs."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_isles.perfusion.deconvolution import Solver, circulant_factors, require_fit, truncated

TRUNCATIONS = tuple(round(0.01 * step, 2) for step in range(1, 51))


def oscillation_index(residue: Tensor) -> Tensor:
    """Return the oscillation index (V,) of residue functions (V, L): summed bends over length and height.

    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522, equation 9.
    """
    bends = residue[:, 2:] - 2 * residue[:, 1:-1] + residue[:, :-2]
    return bends.abs_().sum(1) / (residue.shape[1] * residue.amax(1).clamp_min(1e-12))


def oscillation_svd(
    curves: Tensor,
    aif: Tensor,
    dt_s: float,
    *,
    limit: float = 0.035,
    truncations: tuple[float, ...] = TRUNCATIONS,
    chunk: int = 8192,
) -> Tensor:
    """Deconvolve each curve with the least truncation of the grid whose oscillation index stays within ``limit``.

    All voxels of a chunk go through one matrix product a truncation; those that are smooth enough leave. A curve that
    no truncation calms keeps the strongest one.

    Shapes: ``curves`` (V, T), ``aif`` (T,), out (V, 2 T).  Units: as ``block_circulant_svd``.

    Args:
        limit: largest oscillation index allowed.
        truncations: parts of the largest singular value, rising.
        chunk: voxels at a time, so that they stay in the processor's cache.

    Raises:
        IslesError: ``E-PERF-01`` no bolus, ``E-PERF-02`` curves of another length.

    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522; the grid of truncations and the batches are ours;
    equal to a loop over voxels in ``tests/perfusion/test_oscillation.py``.
    """
    require_fit(curves, aif, "oscillation_svd")
    solve = oscillation_solver(curves, aif, dt_s, limit=limit, truncations=truncations)
    out = curves.new_empty(curves.shape[0], 2 * curves.shape[1])
    for start in range(0, len(curves), chunk):
        solve(curves[start : start + chunk], out[start : start + chunk])
    return out


def oscillation_solver(
    like: Tensor, aif: Tensor, dt_s: float, *, limit: float, truncations: tuple[float, ...] = TRUNCATIONS
) -> Solver:
    """Return what deconvolves curves (V, T) into out (V, 2 T), the inverses of the grid made once."""
    inverses = _distinct(aif, dt_s, truncations, like)

    def solve(curves: Tensor, out: Tensor) -> Tensor:
        active, part = torch.arange(len(curves), device=curves.device), curves
        for inverse in inverses:
            residue = part @ inverse
            out[active] = residue
            wild = oscillation_index(residue) > limit
            active, part = active[wild], part[wild]
            if not len(active):
                break
        return out

    return solve


def _distinct(aif: Tensor, dt_s: float, truncations: tuple[float, ...], like: Tensor) -> list[Tensor]:
    """Return the inverses of the grid, each once: neighbours that drop the same singular values are one."""
    u, s, vh = circulant_factors(aif.cpu(), dt_s)
    first = {int((s >= truncation * s[0]).sum()): truncation for truncation in reversed(truncations)}
    frames = aif.numel()
    return [truncated(u, s, vh, level)[:, :frames].to(like).T.contiguous() for level in sorted(first.values())]
