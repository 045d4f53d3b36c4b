"""A 256x256x16x50 perfusion series to maps, against a loop over voxels in numpy, in one run.

Prints seconds for reading, preparing and measuring and the share of reading; the deconvolution alone against the loop
(a decomposition a voxel, as the method is written down, and with one shared pseudo-inverse) and the oscillation-index
method against its loop, the loops timed on a sample and extrapolated. The results are equal to 1e-6 of the peak.
Simulated data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from monai_isles.data.series import read_perfusion_series
from monai_isles.perfusion import block_circulant_svd, measured_maps, oscillation_svd, prepare_series
from monai_isles.perfusion.oscillation import TRUNCATIONS
from monai_isles.phantom.kinetics import Bolus, TissueCurves

ROUNDS, DT_S, SPACING_MM = 3, 1.0, (0.9, 0.9, 5.0)
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


def seconds(make: Callable[[], object]) -> tuple[float, object]:
    """Return the wall time of one call, and what it made."""
    start = time.perf_counter()
    made = make()
    return time.perf_counter() - start, made


def matrix(aif: np.ndarray) -> np.ndarray:
    """Return the block-circulant matrix (2 T, 2 T)."""
    size = 2 * len(aif)
    padded = np.concatenate([aif, np.zeros(len(aif))])
    return np.array([[padded[(i - j) % size] * DT_S for j in range(size)] for i in range(size)])


def inverse(u: np.ndarray, s: np.ndarray, vh: np.ndarray, truncation: float) -> np.ndarray:
    """Return the truncated pseudo-inverse."""
    return (vh.T * np.where(s >= truncation * s[0], 1 / s, 0.0)) @ u.T


def by_voxel(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return residues one voxel and one decomposition at a time."""
    square, rest = matrix(aif), np.zeros(len(aif))
    return np.array([inverse(*np.linalg.svd(square), TRUNCATION) @ np.concatenate([c, rest]) for c in curves])


def shared_inverse(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return residues one voxel at a time, the decomposition done once."""
    known, rest = inverse(*np.linalg.svd(matrix(aif)), TRUNCATION), np.zeros(len(aif))
    return np.array([known @ np.concatenate([c, rest]) for c in curves])


def oscillating(curves: np.ndarray, aif: np.ndarray) -> np.ndarray:
    """Return oscillation-index residues one voxel at a time, the truncations tried in turn."""
    factors, rest = np.linalg.svd(matrix(aif)), np.zeros(len(aif))
    known = [inverse(*factors, truncation) for truncation in TRUNCATIONS]
    out = []
    for curve in curves:
        for one in known:
            residue = one @ np.concatenate([curve, rest])
            bends = np.abs(residue[2:] - 2 * residue[1:-1] + residue[:-2]).sum()
            if bends / (len(residue) * residue.max()) <= LIMIT:
                break
        out.append(residue)
    return np.array(out)


def fixed(curves: Tensor, aif: Tensor) -> Tensor:
    """Return all residues by fixed truncation."""
    return block_circulant_svd(curves, aif, DT_S, truncation=TRUNCATION)


def varied(curves: Tensor, aif: Tensor) -> Tensor:
    """Return all residues by oscillation index."""
    return oscillation_svd(curves, aif, DT_S, limit=LIMIT)


def against(
    loop: Callable[..., np.ndarray],
    ours: Callable[[Tensor, Tensor], Tensor],
    curves: np.ndarray,
    aif: np.ndarray,
    sample: int,
) -> tuple[float, float, float]:
    """Return extrapolated seconds of the loop, seconds of ours on all voxels, and the largest difference a peak."""
    some, whole = curves[:: len(curves) // sample][:sample].astype(float), torch.from_numpy(curves)
    taken, wanted = seconds(lambda: loop(some, aif.astype(float)))
    found = ours(torch.from_numpy(some), torch.from_numpy(aif).double()).numpy()
    apart = float((np.abs(found - wanted).max(1) / wanted.max(1)).max())
    fast = [seconds(lambda: ours(whole, torch.from_numpy(aif)))[0] for _ in range(ROUNDS)]
    return taken / len(some) * len(curves), statistics.median(fast), apart


def main() -> None:
    """Print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.nii.gz"
        stored = np.moveaxis(head(args.size, args.slices, args.frames), 0, -1)
        image = nibabel.Nifti1Image(stored, np.diag([*SPACING_MM, 1]))
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = DT_S
        image.to_filename(path)
        rounds = []
        for _ in range(args.rounds):
            reading, series = seconds(lambda: read_perfusion_series(path))
            preparing, prepared = seconds(
                lambda s=series: prepare_series(s.array, spacing_mm=s.spacing_mm, times_s=s.times_s)
            )
            measuring, maps = seconds(lambda p=prepared: measured_maps(p))
            rounds.append((reading, preparing, measuring))
    reading, preparing, measuring = (statistics.median(column) for column in zip(*rounds, strict=True))
    total = reading + preparing + measuring
    curves = np.ascontiguousarray(prepared.rise_hu.flatten(1)[:, torch.from_numpy(maps.brain).flatten()].T.numpy())
    shape = f"{args.size}x{args.size}x{args.slices}x{args.frames}"
    print(f"{shape}, {len(curves)} brain voxels, {torch.get_num_threads()} threads: {total:.2f} s to maps")
    print(f"reading {reading:.2f} s ({reading / total:.0%}), preparing {preparing:.2f} s, measuring {measuring:.2f} s")
    record: dict[str, object] = {"subject": "deconvolution", "series": shape, "voxels": len(curves)}
    record |= {"maps_s": total, "reading_share": reading / total}
    for name, loop, ours, sample in (
        ("svd a voxel", by_voxel, fixed, 20),
        ("shared inverse", shared_inverse, fixed, 4000),
        ("oscillation index", oscillating, varied, 200),
    ):
        slow, fast, apart = against(loop, ours, curves, maps.aif, sample)
        print(f"{name}: loop {slow:.1f} s (extrapolated from {sample}), ours {fast:.3f} s, {slow / fast:.0f}x")
        if apart > 1e-6:
            raise SystemExit(f"{name}: results differ by {apart:.1e} of the peak")
        record |= {f"{name} reference_s": slow, f"{name} ours_s": fast, f"{name} ratio": slow / fast}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
