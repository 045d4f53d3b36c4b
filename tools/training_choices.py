"""Train the CT bundle by its paper's letter and with one choice changed at a time; score other scans.

Every training sees the same scans and the same number of patches. The validation scans choose epoch, threshold and
smallest lesion; the test scans, of another phantom, are scored once. What is done is kept: repeat the command to go on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.utils import set_determinism

from monai_isles.bundle import Bundle
from monai_isles.data import load_entries, make_datalist
from monai_isles.inference import StepSlidingWindowInferer
from monai_isles.io import publish_json
from monai_isles.postprocessing import binarise
from monai_isles.reports.curves import best_epoch, read_curves

FIVE = ["ct", "cbf", "cbv", "mtt", "tmax"]
LETTER: dict[str, Any] = {
    "gdl_pooled": False,
    "centres": "fixed",
    "flip": 0.0,
    "norm_momentum": 0.01,
    "average": 0.0,
    "elastic": {"alpha": 2.5, "sigma": 0.12},
    "normalise_over": "volume",
}
ALL: dict[str, Any] = {
    **LETTER,
    "gdl_pooled": True,
    "centres": "fresh",
    "flip": 0.5,
    "norm_momentum": 0.1,
    "average": 0.002,
}
ROWS = {
    "letter": LETTER,
    "all": ALL,
    "letter, average": LETTER | {"norm_momentum": 0.1, "average": 0.002},
    "all but pooled": ALL | {"gdl_pooled": False},
    "all but flip": ALL | {"flip": 0.0},
    "all but fresh": ALL | {"centres": "fixed"},
    "all, foreground": ALL | {"normalise_over": "foreground"},
    "all, five channels": ALL | {"channels": FIVE},
    "all but average": ALL | {"average": 0.0},
    "all but average, momentum": ALL | {"average": 0.0, "norm_momentum": 0.01},
    "letter, pooled": LETTER | {"gdl_pooled": True},
    "letter, fresh": LETTER | {"centres": "fresh"},
    "letter, flip": LETTER | {"flip": 0.5},
    "letter, five channels": LETTER | {"channels": FIVE},
    "letter, no elastic": LETTER | {"elastic": None},
}
THRESHOLDS = tuple(round(0.1 * n, 1) for n in range(1, 10))
SIZES_VOX = (0, 50, 100, 200, 300, 500)
Maps = list[tuple[np.ndarray, np.ndarray, np.ndarray, float]]


def train(args: argparse.Namespace, row: Mapping[str, Any], seed: int, folder: Path) -> Any:
    """Train one network in ``folder`` and return its config."""
    set_determinism(seed)
    config = Bundle.open("clerigues").config("train")
    settings = {
        "output_dir": str(folder), "dataset_dir": str(args.train), "data_list": str(args.out / "list.json"),
        "cache_dir": str(args.out / "cache"), "seed": seed, "patches_per_case": args.patches,
        "validation_patches_per_case": max(2, args.patches // 4), "validation_step": [64, 64],
        "max_epochs": args.epochs, "patience": args.epochs,
        "precision": "bf16", "compile": True, "memory_format": "channels_last", **row,
    }  # fmt: skip
    for key, value in settings.items():
        config[key] = value
    if not (folder / "run.json").is_file():
        trainer = config.get_parsed_content("train#trainer")
        config.get_parsed_content("train#checkpoints").resume(trainer)
        trainer.run()
        torch.compiler.reset()
    return config


def predict(config: Any, weights: Path, entries: Sequence[Mapping[str, Any]]) -> Maps:
    """Return probability, brain, lesion and the volume of a voxel in ml of every scan."""
    network = config.get_parsed_content("network_def")
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    inferer = StepSlidingWindowInferer((64, 64), (16, 16), batch_size=32)
    prepared = config.get_parsed_content("prepared")
    maps: Maps = []
    for entry in entries:
        case = prepared(dict(entry))
        with torch.no_grad():
            result = inferer.infer(
                case["image"].as_tensor()[None].float(), network, case["foreground"].as_tensor()[None]
            )
        brain, lesion = (np.asarray(case[key][0]) > 0 for key in ("foreground", "label"))
        maps.append((result.probability[0, 1].numpy(), brain, lesion, float(case["label"].pixdim.prod()) / 1000))
    return maps


def dice(maps: Maps, threshold: float, size_vox: int, *, masked: bool) -> np.ndarray:
    """Return the Dice overlap of every scan."""
    scores = []
    for probability, brain, lesion, _ in maps:
        mask = binarise(probability * brain if masked else probability, threshold, size_vox) > 0
        total = int(mask.sum() + lesion.sum())
        scores.append(2 * int((mask & lesion).sum()) / total if total else 1.0)
    return np.array(scores)


def score(validation: Maps, tested: Maps, *, masked: bool) -> dict[str, float]:
    """Choose the pair on the validation scans and score the tested ones by it."""
    pairs = [(t, s) for t in THRESHOLDS for s in SIZES_VOX]
    means = [dice(validation, *pair, masked=masked).mean() for pair in pairs]
    best = int(np.argmax(means))
    scores = dice(tested, *pairs[best], masked=masked)
    small = np.array([lesion.sum() * ml < 10 for _, _, lesion, ml in tested])
    best_there = max(dice(tested, *pair, masked=masked).mean() for pair in pairs)
    return {"threshold": pairs[best][0], "min_size_vox": pairs[best][1], "validation": round(float(means[best]), 4),
            "tested": round(float(scores.mean()), 4), "below_10_ml": round(float(scores[small].mean()), 4),
            "best_pair": round(float(best_there), 4)}  # fmt: skip


def table(out: Path) -> str:
    """Return what is done as a Markdown table, the mean over seeds of each row."""
    done: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(out.glob("*/scores.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        epochs = read_curves(path.with_name("curves.csv"))
        kept = next(row for row in epochs if row["epoch"] == best_epoch(epochs))
        done.setdefault(result["row"], []).append(
            {**result["plain"], "epoch": kept["epoch"], "val_dsc": kept["val_dsc"]}
        )
    keys = ("epoch", "val_dsc", "validation", "tested", "below_10_ml", "best_pair")
    lines = [f"| row | seeds | {' | '.join(keys)} |", "|---|" + "---|" * (1 + len(keys))]
    for row in (row for row in ROWS if row in done):
        means = [float(np.mean([result[key] for result in done[row]])) for key in keys]
        cells = [f"{means[0]:.1f}", *(f"{mean:.3f}" for mean in means[1:])]
        lines.append(f"| {row} | {len(done[row])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Train and score the rows that are not done; print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="data folder to train on; a third of it validates")
    parser.add_argument("--test", type=Path, required=True, help="data folder that is scored")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--patches", type=int, default=400, help="a scan and epoch (default: 400)")
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "list.json").is_file():
        publish_json(args.out / "list.json", make_datalist(args.train, folds=3))
        publish_json(args.out / "test.json", make_datalist(args.test, folds=2))  # half of it is scored
    validation = load_entries(args.out / "list.json", args.train, folds=[0], keys=FIVE, need_label=True)
    tested = load_entries(args.out / "test.json", args.test, folds=[0], keys=FIVE, need_label=True)
    for seed in args.seeds:
        for name in args.rows:
            folder = args.out / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
            if not (folder / "scores.json").is_file():
                config = train(args, ROWS[name], seed, folder)
                maps = [predict(config, folder / "model.pt", entries) for entries in (validation, tested)]
                scores = {"plain" if not m else "masked": score(maps[0], maps[1], masked=m) for m in (False, True)}
                publish_json(folder / "scores.json", {"row": name, "seed": seed, "n": len(tested), **scores})
    print(table(args.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
