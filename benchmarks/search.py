"""The grid of thresholds and smallest sizes over 94 maps by ``case_grid`` against relabelling for each of its 54 cells.

The maps are simulated: lesions of phantom scans blurred, flipped, and mixed with smooth noise in the brain, so that a
low threshold leaves many components as a real network does. The reference is the plain loop: components, Dice and
distance anew for every cell. Two more: the same with MONAI's ``RemoveSmallObjects`` and distance, and with our own
functions for one mask.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Sequence

import bench
import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from monai.transforms import RemoveSmallObjects
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.crossval.protocols import SIZES_VOX, THRESHOLDS, case_grid
from monai_isles.metrics import dsc, hd_vox
from monai_isles.phantom import make_case
from monai_isles.postprocessing import binarise

Pair = tuple[np.ndarray, np.ndarray]
CELLS = [(threshold, size) for threshold in THRESHOLDS for size in SIZES_VOX]
SUBJECT, SCANS, MAPS = "search", 6, 94


def scans(number: int, slices: int | None) -> list[Pair]:
    """Return brain and lesion of the first phantom cases."""
    made = [make_case(index, seed=2018, **({} if slices is None else {"max_slices": slices})) for index in number]
    return [(sum(case.images[key] for key in ("cbf", "cbv", "mtt", "tmax")) > 0, case.label > 0) for case in made]


def simulated_map(brain: np.ndarray, label: np.ndarray, seed: int) -> Pair:
    """Return probability and reference; odd seeds are flipped."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=brain.shape), (4, 4, 0.7))
    lesion = ndimage.gaussian_filter(label.astype(float), (3, 3, 0.5))
    probability = (np.clip(0.75 * lesion + 0.25 * noise / noise.std() / 3, 0, 1) * brain).astype(np.float32)
    return (probability[::-1].copy(), label[::-1].copy()) if seed % 2 else (probability, label)


def plain(pairs: list[Pair]) -> np.ndarray:
    """Return the grids (maps, cells, 2) by the plain loop: labels, Dice and nearest neighbours anew for every cell."""
    return np.array([[_plain(p > threshold, size, ref) for threshold, size in CELLS] for p, ref in pairs])


def _plain(above: np.ndarray, smallest: int, reference: np.ndarray) -> tuple[float, float]:
    labels, _ = ndimage.label(above)
    sizes = np.bincount(labels.ravel())
    mask = above & (sizes >= smallest)[labels]
    total = int(mask.sum()) + int(reference.sum())
    if not mask.any() or not reference.any():
        return (0.0, np.nan) if total else (1.0, 0.0)
    box = ndimage.find_objects((mask | reference).astype(np.int8))[0]
    surfaces = [np.argwhere(part & ~ndimage.binary_erosion(part)) for part in (mask[box], reference[box])]
    far = max(KDTree(there).query(here)[0].max() for here, there in (surfaces, surfaces[::-1]))
    return 2 * int((mask & reference).sum()) / total, float(far)


def pair_by_pair(pairs: list[Pair]) -> np.ndarray:
    """Return the grids by our own functions for one mask: ``binarise``, ``dsc``, ``hd_vox`` for every cell."""
    return np.array([[_scores(binarise(p, *cell), ref) for cell in CELLS] for p, ref in pairs])


def stock(pairs: list[Pair]) -> np.ndarray:
    """Return the grids by what MONAI has: small objects removed anew for every cell, its distance on whole volumes.

    scikit-image 0.26 and later drop objects of exactly ``min_size`` too: ``RemoveSmallObjects`` then gets one less.
    """
    pair = torch.tensor([[1, 1, 0]])
    more = 0 if RemoveSmallObjects(min_size=2, connectivity=1)(pair).any() else 1
    removers = {size: RemoveSmallObjects(min_size=size - more, connectivity=1) for size in SIZES_VOX}
    grids = []
    for probability, reference in pairs:
        known, grid = torch.from_numpy(reference.copy())[None], []
        for threshold, size in CELLS:
            mask = removers[size](torch.from_numpy(probability > threshold)[None])
            total = int(mask.sum()) + int(known.sum())
            both = bool(mask.any()) and bool(known.any())
            far = compute_hausdorff_distance(mask[None], known[None], include_background=True) if both else None
            overlap = 2 * int((mask & known).sum()) / total if total else 1.0
            grid.append((overlap, float(far) if both else (np.nan if total else 0.0)))
        grids.append(grid)
    return np.array(grids)


def ours(pairs: list[Pair]) -> np.ndarray:
    """Return the grids by ``case_grid``."""
    found = [case_grid(*pair, THRESHOLDS, SIZES_VOX) for pair in pairs]
    return np.array([np.stack([dice.ravel(), hd.ravel()], 1) for dice, hd, _ in found])


def _scores(mask: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    return dsc(mask, reference), hd_vox(mask, reference)


def floor_s(pairs: list[Pair]) -> float:
    """Return seconds of one labelling a threshold and one distance map a case, each on its own box: nothing else."""
    total = 0.0
    for probability, reference in pairs:
        boxes = [(mask, ndimage.find_objects(mask.view(np.int8))) for mask in (probability > t for t in THRESHOLDS)]
        masks = [mask[found[0]] for mask, found in boxes if found]
        whole = ndimage.find_objects(((probability > THRESHOLDS[0]) | reference).view(np.int8))[0]
        begun = time.perf_counter()
        for mask in masks:
            ndimage.label(mask)
        ndimage.distance_transform_edt(~reference[whole], return_distances=False, return_indices=True)
        total += time.perf_counter() - begun
    return total


def main(words: Sequence[str] | None = None) -> int:
    """Report the search against both references, and how it grows."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    parser = bench.arguments(__doc__, rounds=2)
    parser.add_argument("--maps", type=int, default=MAPS, help=f"maps searched (default: {MAPS})")
    args = bench.begin(parser, words)
    heads = scans(range(1, 2 if args.quick else SCANS + 1), 2 if args.quick else None)
    pairs = [simulated_map(*heads[seed % len(heads)], seed) for seed in range(2 if args.quick else args.maps)]
    some = pairs[:: max(1, len(pairs) // 4)][:4]
    slices = statistics.fmean(label.shape[2] for _, label in pairs)
    more = {"maps": len(pairs), "cells": len(CELLS), "slices_mean": round(slices, 2)}
    methods = {"relabel every cell": lambda: plain(pairs), "case_grid": lambda: ours(pairs)}
    times = bench.alternate(methods, args.rounds)
    wanted, found = times.answers.values()
    dice = bench.largest_difference(wanted[..., 0], found[..., 0])
    apart = max(bench.largest_difference(wanted, found), np.inf if dice else 0.0)
    row = f"T x Smin search, {len(pairs)} volumes"
    how = "one labelling a threshold, one distance map a volume"
    judged = {"difference": apart, "tolerance": 1e-12, "floor_s": floor_s(pairs), "floor": how}
    first = bench.report(SUBJECT, row, times, args, wanted=10, **judged, **more)
    agreed = [first]
    for name, other, tolerance in (("MONAI's parts", stock, 1e-4), ("our functions for one mask", pair_by_pair, 1e-12)):
        methods = {f"{name}, every cell": lambda method=other: method(some), "case_grid": lambda: ours(some)}
        times = bench.alternate(methods, args.rounds)
        judged = {"difference": bench.largest_difference(*times.answers.values()), "tolerance": tolerance}
        row = f"the same against {name}, {len(some)} volumes"
        agreed.append(bench.report(SUBJECT, row, times, args, **judged, **more))
    head = max(heads, key=lambda pair: pair[0].shape[2])
    deepest = head[0].shape[2]
    points = []
    for depth in sorted({1, 2, 4, 8, deepest} & set(range(1, deepest + 1))):
        middle = slice((deepest - depth) // 2, (deepest - depth) // 2 + depth)
        pair = [simulated_map(*(part[..., middle] for part in head), 0)]
        points.append((depth, bench.alternate({"ours": lambda p=pair: ours(p)}, 5).medians["ours"]))
    bench.growth(SUBJECT, "slices", points, args)
    return bench.outcome(*agreed)


if __name__ == "__main__":
    raise SystemExit(main())
