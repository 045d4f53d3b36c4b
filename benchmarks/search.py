"""The grid of thresholds and smallest sizes by ``case_grid`` against the plain loop, on the same maps, in one run.

The maps are simulated: a phantom's lesion blurred, mixed with smooth noise in its brain, so that a low threshold leaves
many components as a real network does. Prints seconds a case, as medians of alternating rounds, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from monai_isles.evaluation.case_grid import case_grid
from monai_isles.evaluation.search import SIZES_VOX, THRESHOLDS
from monai_isles.metrics import dsc, hd_vox
from monai_isles.phantom import make_case
from monai_isles.postprocessing import binarise, search_grid

ROUNDS = 3
Scores = tuple[np.ndarray, np.ndarray]


def maps(number: int, slices: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return probability and reference of the first phantom cases."""
    made = []
    for index in range(1, number + 1):
        case = make_case(index, seed=2018, max_slices=slices)
        brain = sum(case.images[key] for key in ("cbf", "cbv", "mtt", "tmax")) > 0
        noise = ndimage.gaussian_filter(np.random.default_rng(index).normal(size=brain.shape), (4, 4, 0.7))
        lesion = ndimage.gaussian_filter(case.label.astype(float), (3, 3, 0.5))
        probability = np.clip(0.75 * lesion + 0.25 * noise / noise.std() / 3, 0, 1) * brain
        made.append((probability.astype(np.float32), case.label > 0))
    return made


def plain(probability: np.ndarray, reference: np.ndarray) -> Scores:
    """Return the grid one pair at a time, the components found anew for each."""
    masks = [binarise(probability, threshold, size) for threshold in THRESHOLDS for size in SIZES_VOX]
    return _scores(masks, reference)


def labelled(probability: np.ndarray, reference: np.ndarray) -> Scores:
    """Return the grid with the components found once a threshold, the metrics once a pair."""
    return _scores([mask for *_, mask in search_grid(probability, THRESHOLDS, SIZES_VOX)], reference)


def ours(probability: np.ndarray, reference: np.ndarray) -> Scores:
    """Return the grid by ``case_grid``."""
    grid = case_grid(probability, reference, THRESHOLDS, SIZES_VOX)
    return grid.dsc.ravel(), grid.hd_vox.ravel()


def _scores(masks: list[np.ndarray], reference: np.ndarray) -> Scores:
    return np.array([dsc(mask, reference) for mask in masks]), np.array([hd_vox(mask, reference) for mask in masks])


def seconds(method: Callable[..., Scores], pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[Scores]]:
    """Return seconds a case and the grids."""
    start = time.perf_counter()
    grids = [method(*pair) for pair in pairs]
    return (time.perf_counter() - start) / len(pairs), grids


def main() -> None:
    """Print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--slices", type=int, default=8)
    args = parser.parse_args()
    pairs = maps(args.cases, args.slices)
    methods = {"plain loop": plain, "components once a threshold": labelled, "case_grid": ours}
    times: dict[str, list[float]] = {name: [] for name in methods}
    grids = {}
    for _ in range(ROUNDS):
        for name, method in methods.items():
            taken, grids[name] = seconds(method, pairs)
            times[name].append(taken)
    for name in methods:
        for (wanted_dsc, wanted_hd), (found_dsc, found_hd) in zip(grids["plain loop"], grids[name], strict=True):
            np.testing.assert_array_equal(found_dsc, wanted_dsc)
            np.testing.assert_allclose(found_hd, wanted_hd, rtol=1e-12)
    medians = {name: statistics.median(values) for name, values in times.items()}
    components = statistics.fmean(ndimage.label(probability > THRESHOLDS[0])[1] for probability, _ in pairs)
    print(
        f"{len(pairs)} simulated maps of {', '.join(str(p.shape) for p, _ in pairs)}, "
        f"{components:.0f} components above {THRESHOLDS[0]}, {len(THRESHOLDS) * len(SIZES_VOX)} pairs each"
    )
    for name, taken in medians.items():
        print(f"{name}: {taken:.3f} s a case, {medians['plain loop'] / taken:.1f}x")
    ratio = medians["plain loop"] / medians["case_grid"]
    print(
        json.dumps(
            {"subject": "search", "reference_s": medians["plain loop"], "ours_s": medians["case_grid"], "ratio": ratio}
        )
    )


if __name__ == "__main__":
    main()
