"""Kill a training and a prediction at random instants, start them again, and compare with the undisturbed run."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.forked import Finished, run_forked
from tests.reliability.tiny_data import tiny_cases

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "bundles/clerigues"
EPOCHS = 8
LIMIT_S = 120.0


@dataclass
class Kills:
    """What became of ``total`` runs that were killed at an instant of their own.

    Args:
        good: ended as the undisturbed run did, once started again.
        lost: most save intervals that one of them lost.
        faults: what went wrong, by run.
    """

    total: int = 0
    good: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)


def kill_training(folder: Path, *, kills: int = 50, seed: int = 2018) -> Kills:
    """Train by ``monai.bundle`` on tiny scans, kill -9 at a random instant, train on; the curves must be equal.

    Checked of every run: the same command goes on without an error, from a checkpoint at most one epoch behind the
    curves on disk; the curves (all columns but the seconds) and the weights at the end are bit for bit those of the
    undisturbed run.
    """
    data = tiny_cases(folder / "data", 4)
    _write_list(data, folder / "list.json")
    whole = _train(folder, "whole")
    if whole.code:
        raise RuntimeError(whole.text)
    rng, seen = np.random.default_rng(seed), Kills()
    longest = whole.seconds
    while seen.total < kills:
        n, out, instant = seen.total, folder / "killed", float(rng.uniform(0.0, longest))
        shutil.rmtree(out, ignore_errors=True)
        first = _train(folder, "killed", kill_after_s=instant)
        if not first.killed:  # it was done before: a machine under load gives other times
            longest = min(longest, first.seconds)
            continue
        done = _epochs(out)
        again = _train(folder, "killed")
        seen.total += 1
        resumed = re.search(r"resuming after epoch (\d+)", again.text)
        lost = max(0, done - (int(resumed[1]) if resumed else 0))
        seen.lost = max(seen.lost, lost)
        fault = _difference(folder / "whole", out) if again.code == 0 else f"code {again.code}: {again.text[-300:]}"
        if fault or lost > 1:
            seen.faults.append(f"run {n}, killed after {instant:.2f} s: {fault or f'{lost} epochs lost'}")
        else:
            seen.good += 1
    return seen


def kill_prediction(folder: Path, *, kills: int = 20, seed: int = 2018) -> Kills:
    """Predict ten tiny scans, kill -9 at a random instant, predict again; nothing unreadable, nothing done twice.

    Checked of every run: what lies under a final name after the kill can be read; the same command ends with code 0; a
    case that was finished keeps its files to the nanosecond; all maps equal those of the undisturbed run.
    """
    import torch

    from monai_isles.io.weights import publish_state
    from monai_isles.networks import AsymmetricResUNet

    tiny_cases(folder / "data", 10)
    torch.manual_seed(0)
    publish_state(folder / "model.pt", AsymmetricResUNet(2, 10).state_dict())
    _predict(folder, "warm")
    whole = _predict(folder, "whole")
    if whole.code:
        raise RuntimeError(whole.text)
    rng, seen = np.random.default_rng(seed), Kills()
    longest = whole.seconds
    while seen.total < kills:
        n, out, instant = seen.total, folder / "killed", float(rng.uniform(0.0, longest))
        shutil.rmtree(out, ignore_errors=True)
        first = _predict(folder, "killed", kill_after_s=instant)
        if not first.killed:
            longest = min(longest, first.seconds)
            continue
        broken = _unreadable(out)
        before = {path: path.stat().st_mtime_ns for mark in out.glob("*/result.json") for path in mark.parent.iterdir()}
        again = _predict(folder, "killed")
        seen.total += 1
        redone = [str(path) for path, stamp in before.items() if not path.exists() or path.stat().st_mtime_ns != stamp]
        other = [] if again.code else _other_maps(folder / "whole", out)
        fault = "; ".join([*broken, *redone[:2], *other[:2]]) or (again.text[-300:] if again.code else "")
        if fault:
            seen.faults.append(f"run {n}, killed after {instant:.2f} s: {fault}")
        else:
            seen.good += 1
    return seen


def _write_list(data: Path, path: Path) -> None:
    from monai_isles.data import make_datalist
    from monai_isles.io import publish_json

    publish_json(path, make_datalist(data, folds=2))


def _train(folder: Path, name: str, kill_after_s: float | None = None) -> Finished:
    words = (
        "monai.bundle", "run", "training", "--config_file", f"{BUNDLE}/train.json", "--data_list",
        str(folder / "list.json"), "--dataset_dir", str(folder / "data"), "--output_dir", str(folder / name),
        "--patches_per_case", "8", "--validation_step", "[64,64]", "--max_epochs", str(EPOCHS), "--patience", "100",
    )  # fmt: skip
    return run_forked(_bundle_run, words, limit_s=LIMIT_S, kill_after_s=kill_after_s)


def _bundle_run(words: Sequence[str]) -> None:
    os.chdir(ROOT)
    sys.argv = list(words)
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


def _predict(folder: Path, name: str, kill_after_s: float | None = None) -> Finished:
    from monai_isles.cli.main import main

    words = (
        "predict", str(folder / "data"), "--bundle", str(ROOT / BUNDLE), "--weights", str(folder / "model.pt"), "--out",
        str(folder / name), "--step", "32", "--mc-passes", "2", "--threads", "1",
    )  # fmt: skip
    return run_forked(main, words, limit_s=LIMIT_S, kill_after_s=kill_after_s)


def _epochs(out: Path) -> int:
    path = out / "curves.csv"
    return len(_curves(path)) if path.is_file() else 0


def _curves(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def _difference(whole: Path, out: Path) -> str:
    import torch

    from monai_isles.io import load_state

    if _curves(whole / "curves.csv") != _curves(out / "curves.csv"):
        return "other curves"
    for name in ("model.pt", f"checkpoint-{EPOCHS:04d}.pt"):
        one, two = load_state(whole / name), load_state(out / name)
        one, two = (state.get("objects", {}).get("network", state) for state in (one, two))
        if list(one) != list(two) or not all(torch.equal(one[key], two[key]) for key in one):
            return f"other weights in {name}"
    return ""


def _unreadable(out: Path) -> list[str]:
    from monai_isles.errors import IslesError
    from monai_isles.io import read_image

    broken = []
    for path in out.rglob("*"):
        if not path.is_file() or path.name.startswith(".part-") or path.name == "run.lock":
            continue
        try:
            if path.name.endswith(".nii.gz"):
                read_image(path)
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".html" and not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
                broken.append(f"{path}: not whole")
        except (IslesError, ValueError) as error:
            broken.append(f"{path}: {error}")
    return broken


def _other_maps(whole: Path, out: Path) -> list[str]:
    from monai_isles.io import read_image

    maps = sorted(path.relative_to(whole) for path in whole.rglob("*.nii.gz"))
    if len(maps) < 30:
        return [f"{len(maps)} maps in all"]
    return [
        str(path)
        for path in maps
        if not (out / path).is_file() or not np.array_equal(read_image(whole / path).data, read_image(out / path).data)
    ]
