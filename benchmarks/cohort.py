"""Many cases at once: one worker against two, the overlapped case loop, and what handing out a case costs.

``python benchmarks/cohort.py`` makes 40 simulated two-slice scans, predicts and scores them with one process and with
two in turn, and compares the tables byte for byte; predicts them stage after stage and overlapped; and runs 10 000
cases that do nothing through two workers. Starting processes and loading the network are counted.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import bench
import torch

from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Place, Record, Task
from monai_isles.data import find_entries
from monai_isles.inference.predictor import Choices, Predictor
from monai_isles.io.runs import RunFolder
from monai_isles.phantom import make_dataset
from monai_isles.workflows.evaluate import score_folder
from monai_isles.workflows.predict import Recipe, predict_cases, predict_cohort, recipe_of

BUNDLE = Path(__file__).parents[1] / "bundles/clerigues"
ONE: Place = {"workers": 1}
TWO: Place = {"workers": 2}


def main() -> int:
    """Measure all three; 1 where tables or maps differ."""
    parser = bench.arguments(__doc__, rounds=1)
    parser.add_argument("--cases", type=int, default=40, help="simulated scans (default: 40)")
    parser.add_argument("--trivial", type=int, default=10_000, help="cases that do nothing (default: 10000)")
    parser.add_argument("--step", type=int, default=8, help="between windows (default: 8)")
    args = bench.begin(parser)
    if args.quick:
        args.cases, args.trivial, args.step = 3, 100, 32
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        data = make_dataset(work / "data", cases=args.cases, seed=2018, series=False, max_slices=2, **TWO)
        agreed = [_workers(args, data, work), _loop(args, data, work)]
    _overhead(args)
    return bench.outcome(*agreed)


def _recipe(out: Path, step: int) -> Recipe:
    return recipe_of(BUNDLE, out, choices=Choices(device="cpu"), changes={"step": [step, step]})


def _entries(data: Path, recipe: Recipe) -> list[dict[str, object]]:
    return find_entries(data, keys=recipe.load().modalities)


def _workers(args: argparse.Namespace, data: Path, work: Path) -> bool:
    """Predict and score with one process and with two."""
    tables: dict[str, set[str]] = {}
    seconds: dict[str, list[float]] = {"1 worker": [], "2 workers": []}
    entries = _entries(data, _recipe(work / "none", args.step))
    for _ in range(args.rounds):
        for (name, taken), place in zip(seconds.items(), (ONE, TWO), strict=True):
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            begun = time.perf_counter()
            with RunFolder(out / "pred"):
                predict_cohort(_recipe(out / "pred", args.step), entries, place=place)
            score_folder(out / "pred", data, out / "scores", place=place, resamples=100)
            taken.append(time.perf_counter() - begun)
            table = (out / "scores/per_case.csv").read_bytes()
            tables.setdefault(name, set()).add(hashlib.sha256(table).hexdigest())
    times = bench.timed(seconds)
    same = len(set.union(*tables.values())) == 1
    row = f"{args.cases} cases predicted and scored"
    return bench.report("cohort", row, times, args, difference=0.0 if same else 1.0, tolerance=0.0,
                        per_case_csv_sha256=sorted(set.union(*tables.values())), step=args.step)  # fmt: skip


def _loop(args: argparse.Namespace, data: Path, work: Path) -> bool:
    """Predict stage after stage, and with reading and writing beside the network."""
    recipe = _recipe(work / "loop", args.step)
    predictor, entries = recipe.load(), _entries(data, recipe)

    def one_by_one() -> list[str]:
        for entry in entries:
            predict_cases(predictor, [entry], work / "loop")
        return _maps(work / "loop")

    def overlapped() -> list[str]:
        predict_cases(predictor, entries, work / "loop")
        return _maps(work / "loop")

    def afresh(run: object) -> object:
        def called() -> list[str]:
            shutil.rmtree(work / "loop", ignore_errors=True)
            return run()

        return called

    methods = {"stage after stage": afresh(one_by_one), "overlapped": afresh(overlapped)}
    times = bench.alternate(methods, args.rounds)
    same = times.answers["stage after stage"] == times.answers["overlapped"]
    row = f"case loop, {args.cases} cases in one process"
    stages = _stages(predictor, entries, work / "loop")
    return bench.report("cohort", row, times, args, difference=0.0 if same else 1.0, tolerance=0.0, **stages)


def _maps(out: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.rglob("*.nii.gz"))]


def _stages(predictor: Predictor, entries: list[dict[str, object]], out: Path) -> dict[str, float]:
    """Return the median seconds of each stage of a case."""
    taken: dict[str, list[float]] = {"read_s": [], "infer_s": [], "write_s": []}
    with torch.inference_mode():
        for entry in entries[: min(8, len(entries))]:
            marks = [time.perf_counter()]
            data = predictor.prepare(entry)
            marks.append(time.perf_counter())
            maps = predictor.run_networks(data)
            marks.append(time.perf_counter())
            predictor.finish(entry, data, maps)
            marks.append(time.perf_counter())
            for name, begun, ended in zip(taken, marks[:-1], marks[1:], strict=True):
                taken[name].append(ended - begun)
    return {name: round(statistics.median(values), 3) for name, values in taken.items()}


def nothing(task: Task) -> Record:
    """Do nothing for a case."""
    return {"outcome": "ok"}


def _overhead(args: argparse.Namespace) -> None:
    """Keep what one case costs beyond its work, with the start of the processes apart."""
    few, many = max(2, args.trivial // 100), args.trivial
    seconds = {}
    for count in (few, many):
        begun = time.perf_counter()
        run_cases(nothing, [Task(f"case_{n}") for n in range(count)], **TWO)
        seconds[count] = time.perf_counter() - begun
    each = (seconds[many] - seconds[few]) / (many - few)
    start = seconds[few] - few * each
    said = f"{1000 * each:.2f} ms a case over {many} cases that do nothing, two workers; start {start:.1f} s"
    record = {"subject": "cohort", "row": "handing out a case", "ms_a_case": round(1000 * each, 3),
              "start_s": round(start, 2), "cases": many, "said": said}  # fmt: skip
    bench.keep(record, args)


if __name__ == "__main__":
    raise SystemExit(main())
