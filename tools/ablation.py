"""Train a bundle with one setting changed at a time, several trainings a row; tell what differs beyond chance.

``python tools/ablation.py fusion --out runs/ablation/fusion``

Rows, data and length of the trainings stand under ``ablation`` in the bundle's ``paper.json``; every row is compared
with the first. A fifth of the training scans chooses epoch and threshold of each training, and the unseen scans are
scored once. What is done is kept: repeat the command to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.crossval.out_of_fold import PREDICTIONS, OutOfFold, score_maps
from monai_isles.crossval.plan import Plan
from monai_isles.crossval.protocols import THRESHOLDS, grid_scores
from monai_isles.data import load_entries, make_datalist
from monai_isles.evaluation import compare_rows
from monai_isles.evaluation.pairs import find_references
from monai_isles.inference.predictor import Choices
from monai_isles.io import publish_json
from monai_isles.workflows.predict import predict_cases, recipe_of

TRAIN, UNSEEN = "train", "unseen"
WATCHED = 0
SMALL_ML = 10.0
Row = Mapping[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Train and score the rows that are not done; print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("bundle", help="name of a bundle whose paper.json has an ablation")
    parser.add_argument("--out", type=Path, required=True, help="folder of data, trainings and scores")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="some rows, by name; the first is always one of them")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="one training each (default: 0 1 2)")
    args = parser.parse_args(words)
    bundle = Bundle.open(args.bundle)
    if "ablation" not in bundle.paper:
        parser.error(f"bundle {args.bundle}: its paper.json has no ablation")
    recipe = bundle.paper["ablation"]
    if not set(args.rows or ()) <= set(names := [row["name"] for row in recipe["rows"]]):
        parser.error(f"argument --rows: the rows are {', '.join(map(repr, names))}")
    rows = [row for row in recipe["rows"] if not args.rows or row["name"] in args.rows or row is recipe["rows"][0]]
    for part in (TRAIN, UNSEEN):
        simulate(args.out / part, recipe[part])
    for seed in args.seeds:
        for row in rows:
            folder = args.out / slug(row["name"], seed)
            if not (folder / "scores.json").is_file():
                weights = train(bundle, row, seed, args.out)
                publish_json(
                    folder / "scores.json", {"row": row["name"], "seed": seed, **score(bundle, row, weights, folder)}
                )
    print(table([row["name"] for row in rows], args.out))
    return 0


def slug(name: str, seed: int) -> str:
    """Return the name of the folder of one training."""
    return f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}_{seed}"


def simulate(folder: Path, words: str) -> None:
    """Make one data set and the list of its folds."""
    if not (folder / "list.json").is_file():
        call("-m", "monai_isles.cli.main", "phantom", "--out", str(folder / "data"), *words.split())
        publish_json(folder / "list.json", make_datalist(folder / "data", folds=5))


def settings_of(bundle: Bundle, row: Row) -> dict[str, object]:
    """Return what a row changes in the bundle's configs: the settings of all rows, and above them its own."""
    return {**bundle.paper["ablation"].get("settings", {}), **row.get("settings", {})}


def train(bundle: Bundle, row: Row, seed: int, out: Path) -> Path:
    """Return the weights of a row, trained unless they are there; a row that only predicts otherwise has another's."""
    run = out / slug(row.get("trained_as", row["name"]), seed)
    if not (run / "run.json").is_file():
        places = {"dataset_dir": out / TRAIN / "data", "data_list": out / TRAIN / "list.json", "output_dir": run,
                  "cache_dir": out / "cache"}  # fmt: skip
        settings = {**settings_of(bundle, row), "seed": seed, "fold": WATCHED, "bundle_root": str(bundle.root)}
        settings |= {name: str(path.absolute()) for name, path in places.items()}
        publish_json(run / "settings.json", settings)
        configs = [str(bundle.file("train.json")), str(run / "settings.json")]
        call("-m", "monai.bundle", "run", "training", "--config_file", repr(configs))
    return run / "model.pt"


def score(bundle: Bundle, row: Row, weights: Path, folder: Path) -> dict[str, Any]:
    """Choose the threshold on the scans that chose the epoch, and score the unseen ones by it."""
    config = bundle.config("inference")
    changes = {key: value for key, value in settings_of(bundle, row).items() if key.split("#")[0] in config}
    validation, unseen = (
        predict(bundle, weights, changes, folder.parent / part, folder / part, folds)
        for part, folds in ((TRAIN, [WATCHED]), (UNSEEN, None))
    )
    means = grid_scores(validation, (0,)).dsc.mean(axis=(0, 2))
    threshold = THRESHOLDS[int(np.argmax(means))]
    cuts = {cast(int, case.fold): (threshold, 0) for case in unseen.cases}
    cases = score_maps(unseen.cases, unseen.read, row["name"], cuts)
    for part in (TRAIN, UNSEEN):
        shutil.rmtree(folder / part)
    kept = ("case", "subject", "lesion_ml_ref", "dsc")
    return {
        "threshold": threshold,
        "validation": float(means.max()),
        "cases": [{k: case[k] for k in kept} for case in cases],
    }


def predict(
    bundle: Bundle, weights: Path, changes: Mapping[str, object], data: Path, out: Path, folds: list[int] | None
) -> OutOfFold:
    """Predict a data set, or some folds of it, with the bundle's larger step between windows if it has one."""
    config = bundle.config("inference")
    choices = Choices(weights=(weights,), fast="fast_step" in config, cache_dir=out.parents[1] / "cache")
    listed: dict[str, Any] = {"data_list": data / "list.json", "folds": folds}
    cases = find_references(data / "data", **listed)
    entries = load_entries(data / "list.json", data / "data", folds=folds, need_label=True,
                           **case_keys(config))  # fmt: skip
    changes = {**choices.changes(config.get(), bundle), "dataset_dir": str(data / "data"), **changes}
    recipe = recipe_of(bundle, out / PREDICTIONS, choices=choices, changes=changes)
    predict_cases(recipe.load(), entries, out / PREDICTIONS, strict=True)
    return OutOfFold(out, cast(Plan, None), cases)


def table(names: Sequence[str], out: Path) -> str:
    """Return what is done as a Markdown table.

    A difference is over the seeds that both rows have. It is decided where its interval over subjects excludes zero and
    it is larger than the standard deviation between trainings of either row.
    """
    done: dict[str, list[Row]] = {name: [] for name in names}
    for path in sorted(out.glob("*/scores.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        done.get(result["row"], []).append(result)
    done = {name: results for name, results in done.items() if results}
    lines = ["| row | trainings | Dice, SD between trainings | below 10 ml | difference (95 % interval) | |",
             "|---|---:|---|---:|---|---|"]  # fmt: skip
    reference = next(iter(done))
    for name, results in done.items():
        means, cases = by_training(results), mean_cases(results)
        small = np.mean([case["dsc"] for case in cases if 0 < case["lesion_ml_ref"] < SMALL_ML])
        cells = [f"{np.mean(means):.3f} ± {spread(means):.3f}", f"{small:.3f}", "", ""]
        if name != reference:
            seeds = {one["seed"] for one in results} & {one["seed"] for one in done[reference]}
            first, second = ([one for one in row if one["seed"] in seeds] for row in (done[reference], results))
            result = compare_rows(mean_cases(first), mean_cases(second))
            difference, (low, high) = result["cases"]["mean"], result["ci95"]
            chance = max(spread(by_training(row)) for row in (first, second))
            decided = abs(difference) > chance and low * high > 0
            cells[2:] = [f"{difference:+.3f} ({low:.3f} to {high:.3f})", "decided" if decided else "undecided"]
        lines.append(f"| {name} | {len(results)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_training(results: Sequence[Row]) -> list[float]:
    """Return the mean Dice of each training."""
    return [float(np.mean([case["dsc"] for case in result["cases"]])) for result in results]


def spread(means: Sequence[float]) -> float:
    """Return the standard deviation between trainings, nan of one."""
    return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


def mean_cases(results: Sequence[Row]) -> list[dict[str, Any]]:
    """Return every case with its mean Dice over the trainings."""
    together = zip(*(result["cases"] for result in results), strict=True)
    return [{**same[0], "dsc": float(np.mean([case["dsc"] for case in same]))} for same in together]


def call(*words: str) -> None:
    """Run Python in a process of its own; a failure ends all."""
    print("==", *words, flush=True)
    code = subprocess.run([sys.executable, *words], check=False).returncode
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    sys.exit(main())
