"""What the fast modes of ``bundles/clerigues`` cost on simulated scans that its network never saw: Dice against step.

``python docs/make/fast_modes.py`` writes ``docs/tables/fast_modes.csv`` and ``docs/figures/fast_modes.png``. Every mode
predicts the same middle slices of the same scans; its mask is held against that of the default step and against the
truth. The seconds are processor time of the windows alone, the parts that all modes share left out.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_isles.data import find_entries
from monai_isles.inference import Predictor, load_predictor
from monai_isles.io import read_image
from monai_isles.metrics import dsc
from monai_isles.perfusion.thresholds import cluster_vox
from monai_isles.phantom import make_dataset
from monai_isles.postprocessing import binarise

ROOT = Path(__file__).parents[2]
SEED, CASES, SLICES = 2019, 10, 2
MODES: dict[str, dict[str, object]] = {
    "step 3": {},
    "step 3, bf16": {"precision": "bf16"},
    "step 4": {"step": [4, 4]},
    "step 8": {"step": [8, 8]},
    "step 16": {"step": [16, 16]},
    "step 32": {"step": [32, 32]},
    "step 64": {"step": [64, 64]},
    "whole slices": {"whole_slices": True},
    "whole slices, one pass": {"whole_slices": True, "mc_passes": 1},
}


def predicted(predictor: Predictor, data: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Return lesion, probability, processor seconds and windows of a prepared case, its border cut off."""
    image, brain = (data[key].as_tensor()[None] for key in ("image", "foreground"))
    begun = time.process_time()
    result = predictor.inferer.infer(image, predictor.networks, brain)
    seconds = time.process_time() - begun
    probability = result.probability[0, 1, 32:-32, 32:-32].numpy()
    smallest = cluster_vox(float(predictor.settings["min_cluster_ml"]), data["image"].pixdim.tolist())
    lesion = binarise(probability, float(predictor.settings["threshold"]), smallest)
    return lesion, probability, seconds, result.windows


def middle(volume: Any, slices: int) -> Any:
    """Return so many slices around the middle of a volume (..., D)."""
    first = max(0, (volume.shape[-1] - slices) // 2)
    return volume[..., first : first + slices]


def table(folder: Path, cases: int, modes: Sequence[str]) -> list[dict[str, object]]:
    """Return one row a mode: means over the cases."""
    bundle, out = ROOT / "bundles/clerigues", folder / "out"
    predictors = {name: load_predictor(bundle, out, device="cpu", changes=MODES[name]) for name in modes}
    first = predictors[modes[0]]
    entries = find_entries(folder / "phantom", keys=[*first.modalities, "label"])
    found: dict[str, list[list[float]]] = {name: [] for name in modes}
    for entry in entries[:cases]:
        prepared = first.prepare(entry)
        data = {key: middle(prepared[key], SLICES) for key in ("image", "foreground")}
        truth = middle(read_image(entry["label"], kind="label").data, SLICES) > 0
        reference = None
        for name, predictor in predictors.items():
            lesion, probability, seconds, windows = predicted(predictor, data)
            reference = (lesion, probability, seconds) if reference is None else reference
            far = float(np.abs(probability - reference[1]).max())
            found[name].append([windows, seconds, dsc(lesion, reference[0]), dsc(lesion, truth), far])
    base = np.mean([row[1] for row in found[modes[0]]])
    rows = []
    for name, values in found.items():
        windows, seconds, same, true, far = np.array(values).T
        rows.append(
            {
                "mode": name, "cases": len(values), "windows_a_slice": round(float(windows.mean()) / SLICES, 1),
                "times_faster": round(float(base / seconds.mean()), 1), "dice_to_first": round(float(same.mean()), 4),
                "least_dice_to_first": round(float(same.min()), 4), "dice_to_truth": round(float(true.mean()), 4),
                "largest_difference": round(float(far.max()), 4),
            }
        )  # fmt: skip
    return rows


def figure(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Draw Dice against speed, one point a mode."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from monai_isles.reports.canvas import INK, MARKERS, SERIES

    canvas, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    speed = [row["times_faster"] for row in rows]
    for n, (key, label) in enumerate([("dice_to_first", "to the mask of step 3"), ("dice_to_truth", "to the truth")]):
        axes.plot(speed, [row[key] for row in rows], MARKERS[n], color=SERIES[n], label=label)
    for row in rows:
        axes.annotate(
            row["mode"], (row["times_faster"], row["dice_to_first"]), (0, 7), textcoords="offset points", fontsize=7,
            rotation=60, color=INK,
        )  # fmt: skip
    axes.set(
        xscale="log",
        xlabel="times as fast as step 3, 32 bits",
        ylabel="Dice, mean over scans",
        ylim=(0, 1.5),
        yticks=(0, 0.25, 0.5, 0.75, 1),
        xlim=(0.8, 900),
    )
    axes.legend(frameon=False, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=150)
    plt.close(canvas)


def main(words: Sequence[str] | None = None) -> int:
    """Make the scans, predict them in every mode, write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=CASES, help=f"simulated scans (default: {CASES})")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="the first is the reference")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of tables/ and figures/")
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder) / "phantom", cases=args.cases, seed=SEED, series=False, max_slices=4)
        rows = table(Path(folder), args.cases, args.modes)
    path = args.out / "tables/fast_modes.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    figure(rows, args.out / "figures/fast_modes.png")
    print(path.read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
