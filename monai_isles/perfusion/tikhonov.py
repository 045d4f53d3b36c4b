"""Tikhonov regularisation of the block-circulant system: small singular values are damped, not dropped."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.perfusion.deconvolution import Solver, circulant_factors, require_fit

STRENGTHS = tuple(float(s) for s in torch.logspace(-2.0, 0.0, 33).tolist())
GCV = "gcv"


def tikhonov(curves: Tensor, aif: Tensor, dt_s: float, *, strength: float | str = 0.2, chunk: int = 65536) -> Tensor:
    """Deconvolve with every singular value s damped by s^2 / (s^2 + (strength x largest)^2).

    Shapes: ``curves`` (V, T), ``aif`` (T,), out (V, 2 T).  Units: as ``block_circulant_svd``.

    Args:
        strength: part of the largest singular value, one for all voxels; or ``"gcv"``: each voxel's own, of
            ``STRENGTHS`` the one with the smallest generalised cross-validation.
        chunk: voxels a matrix product.

    Raises:
        IslesError: ``E-PERF-01`` no bolus, ``E-PERF-02`` curves of another length, ``E-PERF-05`` no such strength.

    Source: Calamante et al., Magn Reson Med 2003, doi:10.1002/mrm.10634 (there with the L-curve); cross-validation
    Golub et al., Technometrics 1979, doi:10.1080/00401706.1979.10489751; ``tests/perfusion/test_tikhonov.py``.
    """
    require_fit(curves, aif, "tikhonov")
    solve = tikhonov_solver(curves, aif, dt_s, strength=strength)
    out = curves.new_empty(curves.shape[0], 2 * aif.numel())
    for start in range(0, len(curves), chunk):
        solve(curves[start : start + chunk], out[start : start + chunk])
    return out


def tikhonov_solver(like: Tensor, aif: Tensor, dt_s: float, *, strength: float | str) -> Solver:
    """Return what deconvolves curves (V, T) into out (V, 2 T), the decomposition done once."""
    _require(strength)
    size = 2 * aif.numel()
    u, s, vh = circulant_factors(aif.cpu(), dt_s)
    levels = STRENGTHS if strength == GCV else (float(strength),)
    damped = torch.stack([s / (s**2 + (level * s[0]) ** 2) for level in levels])
    kept = damped * s
    left = u[: aif.numel()].to(like)
    right, filters = vh.to(like), damped.to(like)
    missed = ((1 - kept) ** 2 / (size - kept.sum(1, keepdim=True)) ** 2).T.to(like)

    def solve(curves: Tensor, out: Tensor) -> Tensor:
        parts = curves @ left
        chosen = filters[(parts.square() @ missed).argmin(1)] if len(levels) > 1 else filters
        return torch.matmul(parts * chosen, right, out=out)

    return solve


def _require(strength: float | str) -> None:
    if strength != GCV and not (isinstance(strength, int | float) and 0 < strength <= 1):
        raise IslesError(
            "E-PERF-05",
            "no such strength of regularisation",
            where="tikhonov",
            found=repr(strength),
            fix="give a part of the largest singular value, above 0 and at most 1, or gcv",
        )
