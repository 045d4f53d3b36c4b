"""Perfusion by a model of transit: delay and transit time averaged over their posterior, with noise of known size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import interpolate, special
from torch import Tensor

from monai_isles.perfusion.deconvolution import circulant_inverse, require_fit
from monai_isles.perfusion.peaks import residue_peaks

FINE_S = 0.1
SHAPE = 2.0
TRANSITS_S = tuple(float(s) for s in np.geomspace(1.5, 30.0, 12))
DELAYS_S = tuple(float(s) for s in np.arange(-3.0, 16.0))
USUAL_TRANSIT_S, USUAL_DELAY_S, DELAY_SPREAD_S = 5.0, 1.0, 4.0
CONVENTIONAL_TRUNCATION = 0.10
_SAMPLE = 4000


@dataclass(frozen=True)
class TransitTable:
    """Hold the curves that the model allows, one a row, for one arterial curve.

    Shapes: ``curves`` (K, T), the others (K,).
    Units: ``curves`` in those of the artery for a flow of 1/s; s. ``tmax_s`` is where the conventional deconvolution of
    the curve without noise has its maximum, ``log_prior`` the logarithm of the prior.
    """

    curves: Tensor
    transit_s: Tensor
    tmax_s: Tensor
    log_prior: Tensor


def transit_table(aif: Tensor, dt_s: float, *, spread: float) -> TransitTable:
    """Convolve the artery with gamma-distributed transit times of every mean and delay of the grid.

    The artery is read between its frames by a cubic spline, so that the step of the frames does not change the flow.

    Args:
        spread: standard deviation of the prior of the logarithm of the mean transit time, about ``USUAL_TRANSIT_S``.

    Raises:
        IslesError: ``E-PERF-01`` when the arterial curve holds no bolus.

    Source: gamma-distributed transit times, Mouridsen et al., NeuroImage 2006, doi:10.1016/j.neuroimage.2006.06.015;
    ``tests/perfusion/test_transit.py``.
    """
    conventional = circulant_inverse(aif, dt_s, truncation=CONVENTIONAL_TRUNCATION)
    frames_s = np.arange(aif.numel()) * dt_s
    fine_s = np.arange(0.0, frames_s[-1] + FINE_S / 2, FINE_S)
    artery = interpolate.make_interp_spline(frames_s, aif.double().numpy(), k=3)(fine_s)
    spectrum, size = np.fft.rfft(artery, 2 * len(fine_s)), len(fine_s)
    rows, values = [], []
    for transit_s in TRANSITS_S:
        residue = np.fft.rfft(special.gammaincc(SHAPE, SHAPE * fine_s / transit_s), 2 * size)
        passed = np.fft.irfft(spectrum * residue, 2 * size)[:size] * FINE_S
        for delay_s in DELAYS_S:
            rows.append(np.interp(frames_s - delay_s, fine_s, passed, left=0.0))
            values.append((transit_s, delay_s))
    curves = torch.tensor(np.array(rows))
    transit, delay = torch.tensor(values, dtype=torch.float64).T
    _, place = residue_peaks(curves @ conventional.T)
    prior = ((transit / USUAL_TRANSIT_S).log() / spread) ** 2 + ((delay - USUAL_DELAY_S) / DELAY_SPREAD_S) ** 2
    return TransitTable(curves, transit, (place * dt_s).clamp_min(0.0), -0.5 * prior)


def transit_solver(like: Tensor, aif: Tensor, dt_s: float, *, spread: float) -> Callable[[Tensor], list[Tensor]]:
    """Return what turns curves (V, T) into flow in 1/s, volume (flow x s), and Tmax in s, (V,) each.

    For each curve and each row of the table the flow that fits best is known in closed form, and so is the likelihood
    of that row; flow is the posterior mean of volume over that of transit time. Tmax is the posterior mean of what the
    conventional method would find without noise, so that limits such as 6 s keep their meaning.

    Args:
        like: curves of the type and on the device of those to come; the noise is taken from them.
        spread: see ``transit_table``.

    Raises:
        IslesError: ``E-PERF-01`` no bolus, ``E-PERF-02`` curves of another length.

    Source: after Boutelier et al., IEEE Trans Med Imaging 2012, doi:10.1109/TMI.2012.2189890 (Bayesian, delay as a
    parameter); gamma residues, priors and the grid are ours; ``tests/perfusion/test_transit.py``.
    """
    require_fit(like, aif, "transit_solver")
    table = transit_table(aif.cpu(), dt_s, spread=spread)
    lengths = table.curves.norm(dim=1).clamp_min(1e-12)
    units = (table.curves / lengths[:, None]).T.to(like).contiguous()
    facts = torch.stack([table.transit_s, table.tmax_s], 1).to(like)
    volume, prior = (table.transit_s / lengths).to(like)[:, None], table.log_prior.to(like)
    noise = _misfit(like[:: max(1, len(like) // _SAMPLE)], units)

    def solve(curves: Tensor) -> list[Tensor]:
        fits = (curves @ units).clamp_min_(0.0)
        weight = torch.addcmul(prior, fits, fits, value=0.5 / noise)
        weight = weight.softmax(1)
        transit, tmax = (weight @ facts).T
        found = (weight.mul_(fits) @ volume)[:, 0]
        return [found / transit, found, tmax]

    return solve


def _misfit(curves: Tensor, units: Tensor) -> float:
    """Return the variance that the best row of the table leaves, the median over curves."""
    best = (curves @ units).amax(1).clamp_min(0.0)
    left = (curves.square().sum(1) - best**2) / (curves.shape[1] - 3)
    return max(float(left.median()), 1e-12)
