"""A 256x256x16x50 perfusion series to maps, against a loop over voxels in numpy with the pseudo-inverse computed once.

Both measure the same brain voxels of a simulated head: residue function, its height and time between frames, blood
volume, transit time and time to peak. The loop is timed on a sample and extrapolated. Three more rows: the residue
functions alone, the oscillation-index method against its loop, and a decomposition a voxel, as the method is written
down. Residues agree to 2e-6 of their peak in single precision, where sums run in another order; maps to 2e-6 of their
largest value in double precision, as a peak between two equal frames may fall to either side by rounding.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import bench
import nibabel
import numpy as np
import torch
from torch import Tensor

from monai_isles.data.scans import read_perfusion_series
from monai_isles.perfusion import deconvolve, measured_maps
from monai_isles.perfusion.deconvolution import TRUNCATIONS
from monai_isles.perfusion.maps import DENSITY_G_ML, HEMATOCRIT_FACTOR, LONGEST_MTT_S, LONGEST_TMAX_S, voxel_maps
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.phantom.ct.kinetics import Bolus, TissueCurves

SUBJECT, DT_S, SPACING_MM = "deconvolution", 1.0, (0.9, 0.9, 5.0)
BOLUS = Bolus(arrival_s=6.0, alpha=3.0, beta_s=1.5, peak_hu=260.0, recirculation=0.2)
TRUNCATION, LIMIT = 0.10, 0.065


def head(size: int, slices: int, frames: int) -> np.ndarray:
    """Return an int16 series (T, H, W, D): a round skull, tissue of many transit times and delays, artery and vein."""
    rng, time_s = np.random.default_rng(0), np.arange(frames) * DT_S
    x, y = np.meshgrid(np.arange(size) - size / 2, np.arange(size) - size / 2, indexing="ij")
    radius = np.hypot(x, y) / size
    plain = np.select([radius < 0.30, radius < 0.32, radius < 0.36, radius < 0.39], [35.0, 7.0, 1000.0, 15.0], -1000.0)
    brain = np.flatnonzero(radius < 0.30)
    table = TissueCurves(BOLUS, "exponential", time_s)
    series = np.empty((frames, size, size, slices), np.int16)
    for level in range(slices):
        volume, transit, delay = rng.uniform(1.5, 4.5, len(brain)), rng.uniform(3, 12, len(brain)), 3 * rng.random()
        rise = np.zeros((frames, size * size), np.float32)
        rise[:, brain] = table.tissue(60 * volume / transit, transit, np.full(len(brain), delay)).T
        artery, vein = (np.hypot(x - a * size, y) < 3 for a in (0.2, -0.28))
        rise[:, artery.ravel()] = table.vessel(np.full(int(artery.sum()), 0.7), np.zeros(int(artery.sum()))).T
        rise[:, vein.ravel()] = table.vessel(np.ones(int(vein.sum())), np.full(int(vein.sum()), 5.0)).T
        noise = rng.normal(0, 4, (frames, size, size))
        series[..., level] = np.rint(plain + rise.reshape(frames, size, size) + noise)
    return series


def factors(aif: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the decomposition of the block-circulant matrix (2 T, 2 T)."""
    size = 2 * len(aif)
    padded = np.concatenate([aif, np.zeros(len(aif))])
    return np.linalg.svd(np.array([[padded[(i - j) % size] * DT_S for j in range(size)] for i in range(size)]))


def inverse(u: np.ndarray, s: np.ndarray, vh: np.ndarray, truncation: float) -> np.ndarray:
    """Return the truncated pseudo-inverse (2 T, T) for curves whose second half is zero."""
    return np.ascontiguousarray(((vh.T * np.where(s >= truncation * s[0], 1 / s, 0.0)) @ u.T)[:, : len(s) // 2])


def maps_by_voxel(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return cbf, cbv, mtt, tmax, ttp (V, 5) one voxel at a time, the pseudo-inverse computed once."""
    known, area, scale = inverse(*factors(aif), TRUNCATION), aif.sum(), HEMATOCRIT_FACTOR / DENSITY_G_ML
    latest = round(LONGEST_TMAX_S / DT_S)
    out = np.empty((len(curves), 5))
    for voxel, curve in enumerate(curves):
        residue = known @ curve
        residue[latest + 1 : math.ceil(0.75 * len(residue))] = 0.0  # no peak is sought there
        top = int(residue.argmax())
        cbf, cbv = max(6000 * scale * residue[top], 0.0), max(100 * scale * curve.sum() / area, 0.0)
        tmax = _between(residue[top - 1], residue[top], residue[(top + 1) % len(residue)], top)
        tmax = tmax - len(residue) if tmax >= 0.75 * len(residue) else tmax
        calm = np.empty(len(curve))
        calm[1:-1] = curve[:-2] + curve[2:] + curve[1:-1]
        calm[0], calm[-1] = 1.5 * (curve[0] + curve[1]), 1.5 * (curve[-2] + curve[-1])
        late = min(max(int(calm.argmax()), 1), len(calm) - 2)
        ttp = _between(calm[late - 1], calm[late], calm[late + 1], late)
        mtt = min(60 * cbv / max(cbf, 1e-3), LONGEST_MTT_S) if cbf > 0 else 0.0
        out[voxel] = cbf, cbv, mtt, min(max(tmax * DT_S, 0.0), LONGEST_TMAX_S), ttp * DT_S
    return out


def _between(before: float, top: float, after: float, index: int) -> float:
    return index + min(max(0.5 * (before - after) / min(before - 2 * top + after, -1e-12), -0.5), 0.5)


def residues_by_voxel(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return residues one voxel at a time, the pseudo-inverse computed once."""
    known = inverse(*factors(aif), TRUNCATION)
    return np.array([known @ curve for curve in curves])


def decomposed_by_voxel(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return residues with a decomposition a voxel."""
    return np.array([inverse(*factors(aif), TRUNCATION) @ curve for curve in curves])


def oscillating_by_voxel(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return oscillation-index residues one voxel at a time, the truncations tried in turn."""
    known = [inverse(*factors(aif), truncation) for truncation in TRUNCATIONS]
    out = []
    for curve in curves:
        for one in known:
            residue = one @ curve
            bends = np.abs(residue[2:] - 2 * residue[1:-1] + residue[:-2]).sum()
            if bends / (len(residue) * residue.max()) <= LIMIT:
                break
        out.append(residue)
    return np.array(out)


def maps(curves: Tensor, aif: Tensor) -> Tensor:
    """Return cbf, cbv, mtt, tmax, ttp (V, 5) by ours."""
    return torch.stack(voxel_maps(curves, aif, DT_S, method="bcsvd", level=TRUNCATION), 1)


def fixed(curves: Tensor, aif: Tensor) -> Tensor:
    """Return all residues by fixed truncation."""
    return deconvolve(curves, aif, DT_S, level=TRUNCATION)


def varied(curves: Tensor, aif: Tensor) -> Tensor:
    """Return all residues by oscillation index."""
    return deconvolve(curves, aif, DT_S, method="osvd", level=LIMIT, chunk=8192)


def of_peak(wanted: np.ndarray, found: Tensor) -> float:
    """Return the largest difference of residues, each over its own peak."""
    return float((np.abs(found.double().numpy() - wanted).max(1) / wanted.max(1)).max())


def of_largest(wanted: np.ndarray, found: Tensor) -> float:
    """Return the largest difference of maps, each over its largest value."""
    return float((np.abs(found.numpy() - wanted).max(0) / np.abs(wanted).max(0)).max())


def measured(size: int, slices: int, frames: int, args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Return brain curves (V, T) and the artery (T,) of a series on disk, and keep where its time goes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.nii.gz"
        image = nibabel.Nifti1Image(np.moveaxis(head(size, slices, frames), 0, -1), np.diag([*SPACING_MM, 1]))
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = DT_S
        image.to_filename(path)
        times = [time.perf_counter()]
        series = read_perfusion_series(path)
        times.append(time.perf_counter())
        prepared = prepare_series(series.array, spacing_mm=series.like.spacing_mm, times_s=series.times_s)
        times.append(time.perf_counter())
        found = measured_maps(prepared)
        times.append(time.perf_counter())
    reading, preparing, measuring = (round(float(taken), 3) for taken in np.diff(times))
    said = f"file to maps {sum((reading, preparing, measuring)):.2f} s"
    row = f"{said}: reading {reading:.2f}, preparing {preparing:.2f}, measuring {measuring:.2f}"
    shape = f"{size}x{size}x{slices}x{frames}"
    parts = {"reading_s": reading, "preparing_s": preparing, "measuring_s": measuring}
    bench.keep({"subject": SUBJECT, "row": "file to maps", "said": row, "series": shape, **parts}, args)
    curves = prepared.rise_hu.flatten(1)[:, torch.from_numpy(found.brain).flatten()].T.contiguous()
    return curves, torch.from_numpy(found.aif)


def against(
    loop: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ours: Callable[[Tensor, Tensor], Tensor],
    curves: Tensor,
    aif: Tensor,
    sample: int,
    rounds: int,
) -> tuple[bench.Times, Tensor]:
    """Return the times of the loop on a sample, extrapolated, and of ours on all voxels, and the sample."""
    some = curves[:: max(1, len(curves) // sample)][:sample].contiguous()
    plain, artery = some.double().numpy(), aif.double().numpy()
    methods = {"loop over voxels": lambda: loop(plain, artery), "all voxels at once": lambda: ours(curves, aif)}
    return bench.alternate(methods, rounds, shares={"loop over voxels": len(some) / len(curves)}), some


def main(words: Sequence[str] | None = None) -> int:
    """Report every row, and how the maps grow with the slices."""
    parser = bench.arguments(__doc__, rounds=5, threads=min(2, os.cpu_count() or 1))
    parser.add_argument("--size", type=int, default=256, help="side of the slices (default: 256)")
    parser.add_argument("--slices", type=int, default=16, help="slices of the series (default: 16)")
    parser.add_argument("--frames", type=int, default=50, help="frames of the series (default: 50)")
    args = bench.begin(parser, words)
    size, slices, frames = (64, 2, 30) if args.quick else (args.size, args.slices, args.frames)
    curves, aif = measured(size, slices, frames, args)
    shape, agreed = f"{size}x{size}x{slices}x{frames}", []
    work = 2.0 * curves.numel() * 2 * frames
    floor_s = work / bench.peak_gflops(args.threads) / 1e9
    part = 20 if args.quick else 1
    for row, loop, ours, sample, wanted in (
        (f"deconvolution {shape} to maps", maps_by_voxel, maps, 8000, 25),
        (f"deconvolution {shape}, residues alone", residues_by_voxel, fixed, 20000, None),
        (f"oscillation index {shape}", oscillating_by_voxel, varied, 400, 15),
        (f"deconvolution {shape}, a decomposition a voxel", decomposed_by_voxel, fixed, 40, None),
    ):
        times, some = against(loop, ours, curves, aif, max(10, sample // part), args.rounds)
        known, apart = times.answers["loop over voxels"], of_largest if ours is maps else of_peak
        difference = apart(known, ours(some.double(), aif.double()))
        if ours is not varied:
            single = of_peak(residues_by_voxel(some.double().numpy(), aif.double().numpy()), fixed(some, aif))
            difference = max(difference, single)
        more = {} if ours is varied else {"flop": work, "floor_s": floor_s, "floor": "the product at the peak rate"}
        judged = {"difference": difference, "tolerance": 2e-6, "wanted": wanted, "voxels": len(curves)}
        agreed.append(bench.report(SUBJECT, row, times, args, **judged, **more))
    points = []
    for share in (16, 8, 4, 2, 1):
        some = curves[: len(curves) // share]
        points.append((len(some), bench.alternate({"ours": lambda some=some: maps(some, aif)}, 5).medians["ours"]))
    bench.growth(SUBJECT, "brain voxels", points, args)
    return bench.outcome(*agreed)


if __name__ == "__main__":
    raise SystemExit(main())
