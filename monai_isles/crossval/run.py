"""Run a cross-validation: train every fold by the bundle's own config, predict the scans left out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

from tqdm import tqdm

from monai_isles.bundle.bundle import TRAIN, verbatim
from monai_isles.cohort.child_process import GRACE_S, run_with_parent
from monai_isles.cohort.clusters import devices_here
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import HERE, Place, Record, Task, is_spread
from monai_isles.crossval.out_of_fold import PREDICTED, PREDICTIONS
from monai_isles.crossval.plan import DATA_LIST, PLAN, Plan, require_same_plan
from monai_isles.errors import EXIT_SOME_FAILED, IslesError, refused
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_json
from monai_isles.io.runs import LOCK, RunFolder, read_record, require_free

TRAINING, PREDICTION = "training", "prediction"


class FoldBar(tqdm):
    """Show one progress bar over every epoch and case of all folds, if standard error is a terminal."""

    def __init__(self, plan: Plan, out: Path) -> None:
        total = len(plan.folds) * plan.max_epochs + sum(map(len, plan.cases.values()))
        hidden = sys.stderr is None or not sys.stderr.isatty()
        super().__init__(total=total, desc="cross-validation", unit="step", disable=hidden, dynamic_ncols=True)
        self._plan, self._out = plan, out

    def show(self, titles: Mapping[int, str]) -> None:
        """Update the bar and name the running folds."""
        if self.disable:
            return
        done = {fold: self.finished_counts(fold) for fold in self._plan.folds}
        self.n = sum(epochs + cases for epochs, cases in done.values())
        texts = []
        for fold, title in titles.items():
            (epochs, cases), most = done[fold], len(self._plan.cases[fold])
            place = f"epoch {epochs}/{self._plan.max_epochs}" if title == TRAINING else f"case {cases}/{most}"
            texts.append(f"fold {fold} {title} {place}")
        self.set_postfix_str(", ".join(texts))

    def finished_counts(self, fold: int) -> tuple[int, int]:
        """Return the finished epochs and cases of a fold; a training that stopped early counts as complete."""
        folder, plan = self._out / f"fold_{fold}", self._plan
        curves = folder / "curves.csv"
        rows = curves.read_text(encoding="utf-8").count("\n") - 1 if curves.is_file() else 0
        epochs = plan.max_epochs if (folder / "run.json").is_file() else max(rows, 0)
        return epochs, sum((self._out / PREDICTIONS / case / "result.json").is_file() for case in plan.cases[fold])


PAUSE_S = 0.2


@dataclass(frozen=True)
class Step:
    """Describe one child process; the file ``done`` exists once it need not be run again."""

    title: str
    command: list[str]
    log: Path
    done: Path | None = None


def run_steps(
    steps: Mapping[int, Sequence[Step]],
    devices: Sequence[str | None],
    *,
    watch: Callable[[Mapping[int, str]], None] = lambda titles: None,
) -> dict[int, Record]:
    """Run the steps of each fold one after another, one fold per device, and return one record per fold.

    A failing step ends only its own fold; on any error here the child processes are terminated and awaited.
    """
    titles, stop, free = dict[int, str](), Event(), SimpleQueue[str | None]()
    for device in devices:
        free.put(device)

    def follow_fold(fold: int) -> Record:
        device = free.get()
        try:
            return _run(steps[fold], device=device, watch=partial(titles.__setitem__, fold), stop=stop)
        finally:
            titles.pop(fold, None)
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        running = {fold: pool.submit(follow_fold, fold) for fold in steps}
        try:
            while wait(running.values(), timeout=PAUSE_S).not_done:
                watch(dict(titles))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    watch({})
    return {fold: future.result() for fold, future in running.items()}


def _run(
    steps: Sequence[Step],
    *,
    folder: Path = Path(),
    device: str | None = None,
    watch: Callable[[str], None] = lambda title: None,
    stop: Event | None = None,
) -> Record:
    """Run the unfinished steps of one fold; stop at the first that fails."""
    started, chosen = time.monotonic(), {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    for step in steps:
        if step.done is not None and (folder / step.done).is_file():
            continue
        watch(step.title)
        log = folder / step.log
        code = run_with_parent([sys.executable, *step.command[1:]], log, environment=chosen, folder=folder, stop=stop)
        if code and (step.title, code) != (PREDICTION, EXIT_SOME_FAILED):  # its cases hold their own reasons
            seconds = round(time.monotonic() - started, 1)
            return {"outcome": "failed", "step": step.title, "error": last_words(log, code), "seconds": seconds}
    return {"outcome": "ok", "seconds": round(time.monotonic() - started, 1)}


def last_words(log: Path, code: int) -> str:
    """Return the last ``IslesError`` in a log, else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # a remark has a code too, but stands on one line
    starts = [n for n, line in enumerate(lines[1:]) if line.startswith("  where ") and lines[n].startswith("E-")]
    text = lines[starts[-1] : starts[-1] + 4] if starts else [line for line in lines if line.strip()][-1:]
    return "\n".join([f"ended with code {code}, see {log}", *text])


def run_folds(steps: Mapping[int, Sequence[Step]], *, place: Place) -> dict[int, Record]:
    """Run the steps of each fold on a worker of ``place``; after a crash it continues from the last checkpoint."""
    tasks = [Task(f"fold {fold}", (os.getcwd(), list(mine))) for fold, mine in steps.items()]
    return dict(zip(steps, run_cases(run_fold, tasks, **place, title="folds").values(), strict=True))


def run_fold(task: Task) -> Record:
    """Run the steps of a task's fold in its folder."""
    folder, steps = Path(task.about[0]), task.about[1]
    if task.again:
        _await_predecessor(folder / steps[0].log.parent)
    return _run(steps, folder=folder)


def _await_predecessor(folder: Path) -> None:
    """Wait until the processes of the dead worker have ended, so that its lock can be taken over."""
    until = time.monotonic() + GRACE_S + 5
    while time.monotonic() < until:
        try:
            return require_free(folder)
        except IslesError:
            time.sleep(0.2)
    (folder / LOCK).unlink(missing_ok=True)


def cross_validate(
    plan: Plan,
    content: dict,
    out: str | Path,
    *,
    place: Place = HERE,
    cache_dir: str | Path | None = None,
    cache_gb: float = 100.0,
    strict: bool = False,
) -> dict[str, Any]:
    """Train and predict every fold of a plan; write the outcome of each to ``run.json`` and return it.

    ``out`` receives ``crossval.json`` (the plan), ``data_list.json``, ``fold_<k>/`` (the training's own folder) and
    ``predictions/<case>/probability.nii.gz`` by the model that never trained on the case. Finished trainings
    and cases are kept; a stopped training continues from its checkpoint.

    Args:
        place: where folds run; by default here, in parallel on the GPUs of this machine, one at a time without GPU.
            Elsewhere a fold needs one GPU by default if this machine has any.
        cache_dir, cache_gb: cache for preprocessed cases, so that all folds preprocess them once.
        strict: a case that cannot be read ends the trainings that read it; else they leave it out.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.1; ``tests/cli/test_crossval.py``.
    """
    out = Path(out)
    require_same_plan(plan, out)
    outputs = [f"{PREDICTIONS}/{case}/probability.nii.gz" for names in plan.cases.values() for case in names]
    with RunFolder(out, outputs=outputs) as run:
        publish_json(out / DATA_LIST, content)
        publish_json(out / PLAN, plan.record())
        kept = {} if cache_dir is None else {"cache_dir": str(Path(cache_dir).absolute()), "cache_gb": cache_gb}
        every = {fold: fold_steps(plan, out, fold, strict=strict, **kept) for fold in plan.folds}
        steps = {fold: mine for fold, mine in every.items() if mine}
        if is_spread(place):
            import torch

            ended = run_folds(steps, place={"gpus": int(torch.cuda.is_available()), **place})
        else:
            with FoldBar(plan, out) as bar:
                ended = run_steps(steps, devices_here(), watch=bar.show)
        ended = {fold: ended.get(fold, {"outcome": "done before"}) for fold in sorted(every)}
        cases: dict[str, dict[str, object]] = {}
        for fold, names in plan.cases.items():
            # Empty for a fold that was not predicted.
            written = read_record(out / f"fold_{fold}" / PREDICTED).get("cases", {})
            cases |= {name: {"fold": fold, **written.get(name, {"outcome": "missing"})} for name in names}
        record: dict[str, object] = {"kind": "crossval", "folds": ended, "cases": cases, "plan": plan.record()}
        run.finish(record)
    return record


def require_whole(record: Mapping[str, Any], where: str) -> None:
    """Refuse a cross-validation with a failed fold or case."""
    folds: Mapping[str, Mapping] = record["folds"]
    cases: Mapping[str, Mapping] = record["cases"]
    fine = ("ok", "done before")
    faults = [f"fold {fold}: {case.get('error', '')}" for fold, case in folds.items() if case["outcome"] == "failed"]
    faults += [f"{name}: {case['outcome']}" for name, case in cases.items() if case["outcome"] not in fine]
    if faults:
        raise refused("E-REPR-02", where=where, found=f"{len(faults)} faults: {'; '.join(faults[:6])}")


def fold_steps(plan: Plan, out: Path, fold: int, *, strict: bool = False, **kept: object) -> list[Step]:
    """Write the fold's settings and return the unfinished steps of training and prediction."""
    folder = out / f"fold_{fold}"
    chosen = {
        **plan.open_bundle().training_settings(),
        "bundle_root": verbatim(plan.bundle),
        "dataset_dir": verbatim(plan.dataset_dir),
        "data_list": verbatim((out / DATA_LIST).absolute()),
        "output_dir": verbatim(folder.absolute()),
        "fold": plan.stopping_fold(fold),
        "held_out": plan.held_out_folds(fold),
        **({"strict": True} if strict else {}),
        **kept,
        **({"cache_dir": verbatim(str(kept["cache_dir"]))} if kept else {}),
    }
    publish_json(folder / "settings.json", chosen)
    bundle = plan.open_bundle()
    configs = [str(bundle.file(TRAIN)), *(str(bundle.overlay_file(overlay, folder)) for overlay in plan.overlays)]
    train = ["-m", "monai.bundle", "run", "training", "--config_file", repr([*configs, str(folder / "settings.json")])]
    predict = ["-m", "monai_isles.crossval.out_of_fold", str(out), str(fold), *map(str, kept.values())]
    trained = (folder / "run.json").is_file()
    steps = [] if trained else [Step(TRAINING, [sys.executable, *train], folder / "training.log", folder / "run.json")]
    if not trained or not is_predicted(plan, out, fold):
        steps.append(Step(PREDICTION, [sys.executable, *predict], folder / "prediction.log"))
    return steps


def is_predicted(plan: Plan, out: Path, fold: int) -> bool:
    """Return whether every case of a fold was predicted with the fold's present weights."""
    folder = out / f"fold_{fold}"
    written, weights = read_record(folder / PREDICTED), folder / "model.pt"
    if not written or not weights.is_file():
        return False
    complete = all((out / PREDICTIONS / case / "probability.nii.gz").is_file() for case in plan.cases[fold])
    fine = all(record["outcome"] != "failed" for record in written["cases"].values())
    return complete and fine and written["weights_sha256"] == sha256_of(weights)
