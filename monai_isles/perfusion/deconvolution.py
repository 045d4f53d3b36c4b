"""Block-circulant singular value decomposition: residue functions from tissue curves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from monai_isles.errors import IslesError

Solver = Callable[[Tensor, Tensor], Tensor]


def circulant_inverse(aif: Tensor, dt_s: float, *, truncation: float) -> Tensor:
    """Return the truncated pseudo-inverse of the block-circulant matrix of ``aif``.

    Shapes: ``aif`` (T,), out (2 T, T): the second half of the zero-padded tissue curve is zero and left out.
    Units: 1 / (unit of ``aif`` x s).

    Args:
        aif: arterial curve over baseline.
        dt_s: seconds between frames.
        truncation: singular values below this part of the largest are dropped.

    Raises:
        IslesError: ``E-PERF-01`` when the curve holds no bolus.

    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522;
    equal to a per-voxel loop in ``tests/perfusion/test_deconvolution.py``.
    """
    u, s, vh = circulant_factors(aif, dt_s)
    return truncated(u, s, vh, truncation)[:, : aif.numel()]


def circulant_factors(aif: Tensor, dt_s: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the singular value decomposition (u, s, vh) of the block-circulant matrix (2 T, 2 T), double precision.

    Raises:
        IslesError: ``E-PERF-01`` when the curve holds no bolus.
    """
    if not torch.isfinite(aif).all() or float(aif.abs().sum()) == 0.0:
        raise IslesError(
            "E-PERF-01",
            "the arterial input function holds no bolus",
            where="aif",
            found=f"{aif.numel()} frames, sum {float(aif.sum()):.3g}",
            fix="choose another vessel, or check the baseline frames",
        )
    padded = torch.cat([aif.double(), torch.zeros_like(aif, dtype=torch.float64)])
    size = padded.numel()
    index = (torch.arange(size)[:, None] - torch.arange(size)[None, :]) % size
    return torch.linalg.svd(padded[index] * dt_s)


def truncated(u: Tensor, s: Tensor, vh: Tensor, truncation: float) -> Tensor:
    """Return the pseudo-inverse without the singular values below ``truncation`` times the largest."""
    kept = torch.where(s >= truncation * s[0], 1.0 / s, torch.zeros_like(s))
    return (vh.T * kept) @ u.T


def block_circulant_svd(
    curves: Tensor, aif: Tensor, dt_s: float, *, truncation: float = 0.1, chunk: int = 65536
) -> Tensor:
    """Deconvolve tissue curves by the arterial curve; a late or early tissue curve changes nothing but the shift.

    Shapes: ``curves`` (V, T), ``aif`` (T,), out (V, 2 T), residue function times flow, dtype of ``curves``.
    Units: ``curves`` and ``aif`` share theirs; out in 1/s.

    Args:
        curves: tissue curves over baseline, brain voxels only.
        aif, dt_s, truncation: see ``circulant_inverse``.
        chunk: voxels a matrix product.

    Raises:
        IslesError: ``E-PERF-01`` see ``circulant_inverse``, ``E-PERF-02`` when frames differ.

    Source: Wu et al., Magn Reson Med 2003, doi:10.1002/mrm.10522.
    """
    require_fit(curves, aif, "block_circulant_svd")
    solve = circulant_solver(curves, aif, dt_s, truncation=truncation)
    out = curves.new_empty(curves.shape[0], 2 * aif.numel())
    for start in range(0, curves.shape[0], chunk):
        solve(curves[start : start + chunk], out[start : start + chunk])
    return out


def circulant_solver(like: Tensor, aif: Tensor, dt_s: float, *, truncation: float) -> Solver:
    """Return what deconvolves curves (V, T) into out (V, 2 T), the decomposition done once; ``block_circulant_svd``.

    Args:
        like: curves of the type and on the device of those to come.
    """
    inverse = circulant_inverse(aif.cpu(), dt_s, truncation=truncation).to(like).T.contiguous()
    return lambda curves, out: torch.matmul(curves, inverse, out=out)


def require_fit(curves: Tensor, aif: Tensor, where: str) -> None:
    """Raise ``E-PERF-02`` unless ``curves`` is (voxels, frames) with the frames of ``aif``."""
    if curves.ndim != 2 or curves.shape[1] != aif.numel():
        raise IslesError(
            "E-PERF-02",
            "tissue curves and arterial curve differ in length",
            where=where,
            found=f"curves of shape {tuple(curves.shape)}, {aif.numel()} arterial frames",
            fix="pass curves as (voxels, frames)",
        )
