"""Distances between the surfaces of two masks (HD, HD95, ASSD in mm) by ours and by MONAI, on the same pairs.

The pairs are simulated: the lesion of a phantom scan and what a threshold leaves of a noisy map of it (``search.py``).
MONAI takes three calls, one a distance; ours one for all three. Growth is with the surface voxels of two discs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import bench
import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from search import SCANS, Pair, scans, simulated_map

from monai_isles.metrics import surface_distances
from monai_isles.postprocessing import binarise

SUBJECT, SPACING_MM, THRESHOLD, SMALLEST_VOX = "surfaces", (0.9, 0.9, 5.0), 0.2, 10


def monai(pairs: list[Pair]) -> np.ndarray:
    """Return HD, HD95 and ASSD (pairs, 3) by MONAI."""
    return np.array([[float(value) for value in _monai(*pair)] for pair in pairs])


def _monai(pred: np.ndarray, ref: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    given = {"include_background": True, "spacing": list(SPACING_MM)}
    both = [torch.from_numpy(mask)[None, None] for mask in (pred, ref)]
    far, most = compute_hausdorff_distance(*both, **given), compute_hausdorff_distance(*both, percentile=95, **given)
    return far, most, compute_average_surface_distance(*both, symmetric=True, **given)


def ours(pairs: list[Pair]) -> np.ndarray:
    """Return HD, HD95 and ASSD (pairs, 3) by ours."""
    found = [surface_distances(*pair, SPACING_MM) for pair in pairs]
    return np.array([[one.hd, one.hd95, one.assd] for one in found])


def discs(radius: int) -> Pair:
    """Return two overlapping discs of four slices."""
    x, y = np.ogrid[:256, :256]
    made = [np.hypot(x - 128, y - 128 - shift) < radius for shift in (0, radius // 2)]
    return tuple(np.repeat(disc[..., None], 4, axis=2) for disc in made)


def main(words: Sequence[str] | None = None) -> int:
    """Report the distances of all pairs, and how they grow with the masks."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    args = bench.begin(bench.arguments(__doc__, rounds=7), words)
    heads = scans(range(1, 2 if args.quick else SCANS + 1), 2 if args.quick else None)
    maps = [simulated_map(*head, seed) for seed, head in enumerate(heads)]
    pairs = [(binarise(probability, THRESHOLD, SMALLEST_VOX), label) for probability, label in maps]
    times = bench.alternate({"MONAI": lambda: monai(pairs), "ours": lambda: ours(pairs)}, args.rounds)
    apart = bench.largest_difference(*times.answers.values())
    row = f"HD, HD95 and ASSD, {len(pairs)} pairs"
    shapes = sorted({pred.shape for pred, _ in pairs})
    agreed = bench.report(SUBJECT, row, times, args, difference=apart, tolerance=1e-4, shapes=shapes)
    points = []
    for radius in (10, 20, 40, 80):
        pair = discs(radius)
        taken = bench.alternate({"ours": lambda pair=pair: ours([pair])}, args.rounds).medians["ours"]
        points.append((int(pair[0].sum() + pair[1].sum()), taken))
    bench.growth(SUBJECT, "lesion voxels", points, args)
    return bench.outcome(agreed)


if __name__ == "__main__":
    raise SystemExit(main())
