"""Cross-validation: train every fold by the bundle's own config, predict the scans it was not trained on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from monai_isles.cohort.place import HERE, Place, is_spread
from monai_isles.cohort.devices import devices_here
from monai_isles.evaluation.crossval_bar import PREDICTION, TRAINING, FoldBar
from monai_isles.evaluation.crossval_cohort import run_folds
from monai_isles.bundle.overlays import TRAIN, find_config, training_settings
from monai_isles.crossval.plan import DATA_LIST, PLAN, Plan, require_same_plan
from monai_isles.evaluation.crossval_predict import PREDICTED, PREDICTIONS
from monai_isles.evaluation.crossval_workers import Step, run_steps
from monai_isles.io.runs import RunFolder
from monai_isles.io.publish import publish_json
from monai_isles.io.checksums import sha256_of


def cross_validate(
    plan: Plan,
    content: dict,
    out: str | Path,
    *,
    place: Place = HERE,
    gpus: int | None = None,
    memory_gb: float = 0.0,
    cache_dir: str | Path | None = None,
    cache_gb: float = 100.0,
) -> dict[str, object]:
    """Train and predict every fold of a plan; return and write what became of each as ``run.json``.

    ``out`` receives ``crossval.json`` (the plan), ``data_list.json``, ``fold_<k>/`` (the training's own folder) and
    ``predictions/<case>/probability.nii.gz`` by the model that never trained on the case. What is done is not done
    again: finished trainings and cases are kept, a stopped training goes on from its checkpoint.

    Args:
        plan, content: what ``make_plan`` returned.
        out: a folder of its own, or one that the same plan was begun in.
        place: where folds run; here unless told: side by side on the GPUs of this machine, one at a time without.
        gpus, memory_gb: that one fold needs of its worker; one GPU where this machine has any, unless told.
        cache_dir, cache_gb: keep preprocessed cases there, so that all folds preprocess them once.
    Raises:
        IslesError: ``E-XVAL-07`` another plan was begun there, ``E-RUN-*`` the folder is held or cannot be written.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.1; ``tests/cli/test_crossval.py``.
    """
    out = Path(out)
    require_same_plan(plan, out)
    outputs = [f"{PREDICTIONS}/{case}/probability.nii.gz" for names in plan.cases.values() for case in names]
    with RunFolder(out, outputs=outputs) as run:
        publish_json(out / DATA_LIST, content)
        publish_json(out / PLAN, plan.record())
        kept = {} if cache_dir is None else {"cache_dir": str(Path(cache_dir).absolute()), "cache_gb": cache_gb}
        steps = {fold: fold_steps(plan, out, fold, **kept) for fold in plan.folds}
        if is_spread(place):
            wanted = int(_has_gpu()) if gpus is None else gpus
            ended = run_folds(steps, place=place, gpus=wanted, memory_gb=memory_gb)
        else:
            with FoldBar(plan, out) as bar:
                ended = run_steps(steps, devices_here(), watch=bar.show)
        record = {"kind": "crossval", "folds": ended, "cases": _cases(plan, out), "plan": plan.record()}
        run.finish(record)
    return record


def fold_steps(plan: Plan, out: Path, fold: int, **kept: object) -> list[Step]:
    """Write the fold's settings and return what is left to do of training and prediction.

    Args:
        kept: ``cache_dir`` and ``cache_gb``, where preprocessed cases are to be kept.
    """
    folder = out / f"fold_{fold}"
    chosen = {
        **training_settings(Path(plan.bundle), plan.overlays, plan.settings),
        "bundle_root": plan.bundle,
        "dataset_dir": plan.dataset_dir,
        "data_list": str((out / DATA_LIST).absolute()),
        "output_dir": str(folder.absolute()),
        "fold": plan.watched(fold),
        "held_out": plan.held_out(fold),
        **kept,
    }
    publish_json(folder / "settings.json", chosen)
    configs = [str(find_config(Path(plan.bundle), name)) for name in (TRAIN, *plan.overlays)]
    train = ["-m", "monai.bundle", "run", "training", "--config_file", repr([*configs, str(folder / "settings.json")])]
    predict = ["-m", "monai_isles.evaluation.crossval_predict", str(out), str(fold), *map(str, kept.values())]
    trained = (folder / "run.json").is_file()
    steps = [] if trained else [Step(TRAINING, [sys.executable, *train], folder / "training.log", folder / "run.json")]
    if not trained or not _predicted(plan, out, fold):
        steps.append(Step(PREDICTION, [sys.executable, *predict], folder / "prediction.log"))
    return steps


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _predicted(plan: Plan, out: Path, fold: int) -> bool:
    path, weights = out / f"fold_{fold}" / PREDICTED, out / f"fold_{fold}" / "model.pt"
    if not path.is_file() or not weights.is_file():
        return False
    written = json.loads(path.read_text(encoding="utf-8"))
    there = all((out / PREDICTIONS / case / "probability.nii.gz").is_file() for case in plan.cases[fold])
    fine = all(record["outcome"] != "failed" for record in written["cases"].values())
    return there and fine and written["weights_sha256"] == sha256_of(weights)


def _cases(plan: Plan, out: Path) -> dict[str, dict[str, object]]:
    """Return the record of every scored case; those of a fold that was not predicted are missing."""
    records: dict[str, dict[str, object]] = {}
    for fold, names in plan.cases.items():
        path = out / f"fold_{fold}" / PREDICTED
        written = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
        records |= {name: {"fold": fold, **written.get(name, {"outcome": "missing"})} for name in names}
    return records
