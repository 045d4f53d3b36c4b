"""Slices to draw contours on: the same scans under the masks of several networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monai_isles.case import Case
from monai_isles.data.entries import load_entries
from monai_isles.crossval.plan import DATA_LIST
from monai_isles.papers.abulnaga import MIN_SIZE_VOX, THRESHOLD, NetworkResult
from monai_isles.io.read import read_image
from monai_isles.postprocessing.components import binarise

TRUTH = "truth"
Drawn = tuple[str, np.ndarray, dict[str, np.ndarray]]


def lesion_slices(results: Mapping[str, NetworkResult], count: int) -> list[Drawn]:
    """Return ``(title, image, masks by name)`` of up to ``count`` scans at even ranks of the first result's Dice.

    Best first; of each scan the slice with most lesion.

    Shapes: image and masks ``(H, W)``. Units: the image is CT in HU, cut to 0..80.
    Source: Figure 4 of Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36) names no rule for its nine scans: ours;
        ``tests/papers/test_abulnaga.py``.
    """
    first = next(iter(results.values()))
    ranked = sorted(first.cases, key=lambda line: -float(line["dsc"]))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    cases = {case.name: case for case in first.found.cases}
    listed = first.found.folder / DATA_LIST, first.found.plan.dataset_dir
    ct = {entry["case"]: entry["ct"] for entry in load_entries(*listed, keys=("ct",), need_label=False)}
    return [_drawn(results, cases[str(ranked[i]["case"])], str(ct[ranked[i]["case"]])) for i in places]


def _drawn(results: Mapping[str, NetworkResult], case: Case, ct: str) -> Drawn:
    volume = read_image(ct, kind="ct", where=case.name).data
    masks, dice = {}, {}
    for name, result in results.items():
        probability, reference = result.found.read(case)
        masks[name] = binarise(probability, THRESHOLD, MIN_SIZE_VOX) > 0
        dice[name] = next(float(line["dsc"]) for line in result.cases if line["case"] == case.name)
        masks = {TRUTH: reference.data > 0, **masks}
    widest = int(np.argmax(masks[TRUTH].sum((0, 1))))
    title = f"{case.name}: Dice " + ", ".join(f"{value:.2f}" for value in dice.values())
    return title, np.clip(volume[..., widest], 0, 80), {name: mask[..., widest] for name, mask in masks.items()}
