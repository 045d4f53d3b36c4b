"""Measure perfusion by a transit model: average delay and transit time over their posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import interpolate, special
from torch import Tensor
from torch.nn import functional

from monai_isles.perfusion.deconvolution import circulant_inverse, require_fit, residue_peaks

FINE_S = 0.1
SHAPE, SHAPES, LEAST_SHAPE, DISPERSION = 2.0, (0.5, 1.0, 2.0, 4.0, 8.0, 16.0), 0.7, 0.3
TRANSITS_S = tuple(float(s) for s in np.geomspace(1.5, 30.0, 12))
DELAYS_S = tuple(float(s) for s in np.arange(-3.0, 16.0))
USUAL_TRANSIT_S, USUAL_DELAY_S, DELAY_SPREAD_S = 5.0, 1.0, 4.0
ROUNDS, LEARNT_PART, LEAST_SPREAD, ALIKE = 8, 0.95, 0.3, 0.005
_NEIGHBOURS = (0.1, 0.2, 0.4, 0.2, 0.1)
_SAMPLE, LEAST_CURVES = 4000, 200


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


def transit_table(
    aif: Tensor, dt_s: float, *, spread: float, shape: float = SHAPE, dispersion: float = 0.0
) -> TransitTable:
    """Convolve the artery with gamma-distributed transit times of every mean and delay of the grid.

    The artery is read between its frames by a cubic spline, so that the step of the frames does not change the flow.

    Args:
        spread: standard deviation of the prior of the logarithm of the mean transit time, about ``USUAL_TRANSIT_S``.
        shape: of the gamma distribution; 1 is an exponential residue function, more comes nearer to a box.
        dispersion: seconds of exponential spread of the bolus on its way, a second of delay.

    Source: gamma-distributed transit times, Mouridsen et al., NeuroImage 2006, doi:10.1016/j.neuroimage.2006.06.015;
    exponential dispersion, Calamante et al., Magn Reson Med 2000, 44:466.
    """
    conventional = circulant_inverse(aif, dt_s, truncation=0.10)
    frames_s = np.arange(aif.numel()) * dt_s
    fine_s = np.arange(0.0, frames_s[-1] + FINE_S / 2, FINE_S)
    # A spline between the frames, so that 2 s steps do not flatten the bolus.
    artery = interpolate.make_interp_spline(frames_s, aif.double().numpy(), k=3)(fine_s)
    size = len(fine_s)
    # The longer the way, the wider the bolus: what arrives with each delay, before it is shifted by it.
    kernels = np.stack([np.exp(-fine_s / max(dispersion * delay_s, 0.01 * FINE_S)) for delay_s in DELAYS_S])
    kernels /= kernels.sum(1, keepdims=True)
    arriving = np.fft.rfft(artery, 2 * size) * np.fft.rfft(kernels, 2 * size)
    rows, values = [], []
    for transit_s in TRANSITS_S:
        residue = np.fft.rfft(special.gammaincc(shape, shape * fine_s / transit_s), 2 * size)
        passed = np.fft.irfft(arriving * residue, 2 * size)[:, :size] * FINE_S
        for delay_s, curve in zip(DELAYS_S, passed, strict=True):
            rows.append(np.interp(frames_s - delay_s, fine_s, curve, left=0.0))
            values.append((transit_s, delay_s))
    curves = torch.tensor(np.array(rows))
    transit, delay = torch.tensor(values, dtype=torch.float64).T
    # What truncated SVD would call Tmax without noise: the 6 s limit was set on such maps.
    _, place = residue_peaks(curves @ conventional.T)
    # A voxel of pure noise falls back to what healthy tissue has, not to the end of the grid.
    prior = ((transit / USUAL_TRANSIT_S).log() / spread) ** 2 + ((delay - USUAL_DELAY_S) / DELAY_SPREAD_S) ** 2
    return TransitTable(curves, transit, (place * dt_s).clamp_min(0.0), -0.5 * prior)


@dataclass(frozen=True)
class TransitPrior:
    """Hold what is expected of a curve before it is seen, for each row of a ``TransitTable``.

    Shapes: (K,).  Units: ``mean`` and ``variance`` are of the height of the fit, in units of the curves.
    """

    log_prior: Tensor
    mean: Tensor
    variance: Tensor

    def posterior(self, fits: Tensor, noise: float) -> Tensor:
        """Return the weight (V, K) of each row; ``fits`` (V, K) heights, ``noise`` the variance of one frame."""
        total = self.variance + noise
        square, level = 0.5 / noise - 0.5 / total, self.log_prior - 0.5 * (self.mean**2 / total + total.log())
        return torch.addcmul(level, fits, torch.addcmul(self.mean / total, fits, square)).softmax(1)

    def trust(self, noise: float) -> Tensor:
        """Return how much (K,) of a fitted height counts; the rest is the mean."""
        return self.variance / (self.variance + noise)


def learned_prior(fits: Tensor, prior: TransitPrior, volume: Tensor, noise: float) -> TransitPrior:
    """Learn from the curves of one scan how often each row occurs, and which volume goes with each delay.

    Expectation and maximisation in turn: a late curve is then expected to have the transit time and the volume that
    late curves of this scan have. A twentieth of the prior stays what it was; volumes of neighbouring delays are
    pooled, and with those of the whole scan where few curves are so late.

    Shapes: ``fits`` (V, K) heights of the best fit of each row; ``volume`` (K,) by which a height is multiplied.
    Source: empirical Bayes, Efron, doi:10.1017/CBO9780511761362; pooling and limits ours.
    """
    first = prior.log_prior.exp()
    for _ in range(ROUNDS):
        weight, trust = prior.posterior(fits, noise), prior.trust(noise)
        result = torch.lerp(prior.mean, fits, trust) * volume
        moments = (weight, weight * result, weight * (result.square() + trust * noise * volume**2))
        share, mean, square = (_by_delay(moment.sum(0)) for moment in moments)
        mean = (mean / share).clamp_min(1e-9)
        spread = (square / share - mean**2).clamp_min(0.0).sqrt().maximum(LEAST_SPREAD * mean)
        mean, spread = (item.repeat(len(TRANSITS_S)) / volume for item in (mean, spread))
        prior = TransitPrior(torch.lerp(first, weight.mean(0), LEARNT_PART).log(), mean, spread**2)
    return prior


def _by_delay(sums: Tensor) -> Tensor:
    """Return sums (K,) by delay, neighbours pooled, with a two-hundredth of the whole added to each."""
    by_delay = sums.reshape(len(TRANSITS_S), len(DELAYS_S)).sum(0)
    pooled = functional.pad(by_delay[None, None], (2, 2), mode="replicate")
    return functional.conv1d(pooled, sums.new_tensor(_NEIGHBOURS)[None, None])[0, 0] + ALIKE * sums.sum()


def likeliest_shape(curves: Tensor, aif: Tensor, dt_s: float, *, spread: float) -> float:
    """Return the shape that makes the curves (V, T) of a scan likeliest, delay, transit time and flow left open.

    One shape counts for all voxels: a single curve does not tell it from its noise, thousands of them do. It is the top
    of the parabola through the likeliest of ``SHAPES`` and its neighbours, so that a near tie of two, whose flows
    differ, gives a shape between them. Of fewer than ``LEAST_CURVES`` it is ``SHAPE``.
    """
    require_fit(curves, aif, "likeliest_shape")
    if len(curves) < LEAST_CURVES:
        return SHAPE
    some = curves[:: max(1, len(curves) // _SAMPLE)]
    results = []
    for shape in SHAPES:
        table = transit_table(aif.cpu(), dt_s, spread=spread, shape=shape, dispersion=DISPERSION)
        fits, prior = (some @ _units(table, some)).clamp_min_(0.0), table.log_prior.to(some)
        results.append((fits, prior - prior.logsumexp(0)))
    noise = min(_misfit(some, fits) for fits, _ in results)
    evidence = [float((prior + fits.square() * (0.5 / noise)).logsumexp(1).double().mean()) for fits, prior in results]
    best = int(np.argmax(evidence))
    if not 0 < best < len(SHAPES) - 1:
        return max(LEAST_SHAPE, SHAPES[best])
    before, top, after = evidence[best - 1 : best + 2]
    # The shapes double from one to the next, so a step of the parabola is a factor.
    return max(LEAST_SHAPE, SHAPES[best] * 2.0 ** (0.5 * (before - after) / (before - 2 * top + after)))


def transit_solver(
    like: Tensor, aif: Tensor, dt_s: float, *, spread: float, shape: float = SHAPE, learned: bool = False
) -> Callable[[Tensor], list[Tensor]]:
    """Return what turns curves (V, T) into flow in 1/s, volume (flow x s), and Tmax in s, (V,) each.

    Flow is the posterior mean of volume over that of transit time. Tmax is the posterior mean of what the conventional
    method would find without noise, so that limits such as 6 s keep their meaning.

    Args:
        like: curves of the type and on the device of those to come; the noise is taken from them.
        learned: take the prior from ``learned_prior`` instead of the table, of ``LEAST_CURVES`` and more, and let the
            bolus disperse on its way.

    Source: after Boutelier et al., IEEE Trans Med Imaging 2012, doi:10.1109/TMI.2012.2189890 (Bayesian, delay as a
    parameter); gamma residues, priors and the grid are ours; ``tests/perfusion/test_transit.py``.
    """
    require_fit(like, aif, "transit_solver")
    learned = learned and len(like) >= LEAST_CURVES
    table = transit_table(aif.cpu(), dt_s, spread=spread, shape=shape, dispersion=DISPERSION if learned else 0.0)
    lengths, units = table.curves.norm(dim=1).clamp_min(1e-12), _units(table, like)
    some = like[:: max(1, len(like) // _SAMPLE)]
    heights = some @ units
    noise = _misfit(some, heights)
    first, volume = table.log_prior.to(like).log_softmax(0), (table.transit_s / lengths).to(like)
    # The prior that the table states, with any volume.
    prior = TransitPrior(first, torch.zeros_like(first), torch.full_like(first, 1e6 * noise))
    if learned:
        prior = learned_prior(heights.clamp_min_(0.0), prior, volume, noise)
    trust = prior.trust(noise)
    facts = torch.stack([table.transit_s.to(like), table.tmax_s.to(like), (1 - trust) * prior.mean * volume], 1)
    trusted = (trust * volume)[:, None]

    def solve(curves: Tensor) -> list[Tensor]:
        # The best flow of each row is a projection, so its likelihood has a closed form; negative flow is none.
        fits = (curves @ units).clamp_min_(0.0)
        weight = prior.posterior(fits, noise)
        transit, tmax, expected = (weight @ facts).T
        result = (weight.mul_(fits) @ trusted)[:, 0] + expected
        return [result / transit, result, tmax]

    return solve


def _units(table: TransitTable, like: Tensor) -> Tensor:
    """Return the curves of the table as columns (T, K) of length 1, of the type and on the device of ``like``."""
    return (table.curves / table.curves.norm(dim=1, keepdim=True).clamp_min(1e-12)).T.to(like).contiguous()


def _misfit(curves: Tensor, fits: Tensor) -> float:
    """Return the variance that the best row of the table leaves, the median over curves (V, T); ``fits`` (V, K)."""
    best = fits.amax(1).clamp_min(0.0)
    left = (curves.square().sum(1) - best**2) / (curves.shape[1] - 3)
    return max(float(left.median()), 1e-12)
