"""Train nnU-Net's 2D plan on a bundle's training scans for given core-seconds; predict and score its unseen scans.

``python benchmarks/nnunet.py --data runs/weights/data --work runs/nnunet --seconds 1400``, in an environment that has
``nnunetv2`` too. The scans are those that ``tools/weights.py`` simulated for ``--bundle``, the folds are the same, and
CT and maps are the channels. Planning, augmentation, loss, optimiser and inference are nnU-Net's own; three things
differ: the batch is ``--batch`` slices, the learning rate falls with the core-seconds used in place of epochs, and
there is no validation in between, of which nothing would be chosen. Without ``--data`` nothing is done.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench
import torch

from monai_isles.bundle.bundle import Bundle
from monai_isles.cli.main import main as isles
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED
from monai_isles.io import publish_json

TRAIN, UNSEEN, PLAN, FOLD = 501, 502, "2d", 0


def main(words: Sequence[str] | None = None) -> int:
    """Do the steps that are not done, print and keep the row."""
    parser = bench.arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the scans that tools/weights.py made")
    parser.add_argument("--work", type=Path, default=Path("runs/nnunet"), help="folder of all that is made")
    parser.add_argument("--bundle", default="fusion", help="whose scans and folds are used (default: fusion)")
    parser.add_argument("--seconds", type=float, default=1400.0, help="core-seconds of the training (default: 1400)")
    parser.add_argument("--batch", type=int, default=4, help="slices a batch (default: 4)")
    args = bench.begin(parser, words)
    if args.data is None:
        print("nothing done: --data names no scans; see the first lines of this file")
        return 0
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(args.work.absolute() / name)
    os.environ["nnUNet_n_proc_DA"] = "1"  # planning sets as many threads, training starts as many processes
    recipe = Bundle.open(args.bundle).paper["weights"]
    train, unseen = (args.data / re.sub(r"\W+", "_", recipe[part]).strip("_") for part in ("train", "unseen"))
    prepared = prepare(train, args)
    trained = train_plan(prepared, args)
    predict(unseen, trained, args)
    return score(unseen, trained, args)


def prepare(data: Path, args: argparse.Namespace) -> Path:
    """Export, fingerprint, plan and preprocess the training scans; return nnU-Net's folder of them."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    raw = exported(data, TRAIN, args)
    folder = args.work / "preprocessed" / raw.name
    if not (folder / "done.json").is_file():
        begun = time.process_time()
        api.extract_fingerprints([TRAIN], num_processes=1, clean=False)
        api.plan_experiments([TRAIN])
        api.preprocess([TRAIN], configurations=(PLAN,), num_processes=(1,))
        (folder / "splits_final.json").write_bytes((raw / "splits_final.json").read_bytes())
        publish_json(folder / "done.json", {"core_s": time.process_time() - begun})
    return folder


def exported(data: Path, number: int, args: argparse.Namespace) -> Path:
    """Return the scans as an nnU-Net data set, written once."""
    raw, name = args.work / "raw", data.name[:40]
    if not (raw / f"Dataset{number}_{name}").is_dir():
        words = ["--data-list", str(data / "list.json"), "--dataset-dir", str(data / "data"), "--out", str(raw)]
        run("export", "--nnunet", *words, "--number", str(number), "--name", name)
    return raw / f"Dataset{number}_{name}"


def train_plan(folder: Path, args: argparse.Namespace) -> Any:
    """Return nnU-Net's trainer after ``--seconds`` of processor time, or with the weights of an earlier run."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans, about = (json.loads((folder / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    plans["configurations"][PLAN]["batch_size"] = args.batch
    os.environ["nnUNet_n_proc_DA"] = "0"
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    trainer: Any = nnUNetTrainer({**plans, "continue_training": False}, PLAN, FOLD, about, torch.device("cpu"))
    trainer.initialize()
    weights = args.work / "trained.pt"
    if not weights.is_file():
        trainer.on_train_start()
        trainer.network.train()
        torch.save({"network": trainer.network.state_dict(), **steps(trainer, args.seconds)}, weights)
    trainer.found = torch.load(weights, weights_only=True)
    return trainer


def steps(trainer: Any, seconds: float) -> dict[str, float]:
    """Train until the core-seconds are used, the rate falling as nnU-Net's does with its epochs; return the counts."""
    begun, count, losses = time.process_time(), 0, []
    while (used := time.process_time() - begun) < seconds:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - used / seconds) ** 0.9
        losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
        count += 1
        if count % 20 == 0:
            print(f"{count} batches, {used:.0f} core-seconds, loss {sum(losses[-20:]) / 20:.3f}", flush=True)
    return {"core_s": time.process_time() - begun, "batches": count, "last_loss": sum(losses[-20:]) / len(losses[-20:])}


def predict(data: Path, trainer: Any, args: argparse.Namespace) -> None:
    """Write the masks of the unseen scans as nnU-Net predicts: Gaussian windows, flips, the larger class."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    images, out = exported(data, UNSEEN, args) / "imagesTr", args.work / "predictions"
    if (out / "done.json").is_file():
        return
    out.mkdir(exist_ok=True)
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, [trainer.found["network"]],
        trainer.dataset_json, type(trainer).__name__, trainer.inference_allowed_mirroring_axes,
    )  # fmt: skip
    cases = [one["case"] for one in scored(data)]
    channels = [[str(images / f"{case}_{n:04d}.nii.gz") for n in range(5)] for case in cases]
    begun = time.process_time()
    predictor.predict_from_files_sequential(channels, [str(out / case) for case in cases])
    publish_json(out / "done.json", {"cases": len(cases), "core_s": time.process_time() - begun})


def scored(data: Path) -> list[dict[str, Any]]:
    """Return the listed scans that decide nothing elsewhere: those of the first four folds."""
    content = json.loads((data / "list.json").read_text(encoding="utf-8"))
    return [one for one in content["training"] if one["fold"] in range(4)]


def score(data: Path, trainer: Any, args: argparse.Namespace) -> int:
    """Score by ``monai-isles evaluate`` on the folds that the bundle is scored on; keep the row."""
    scores, found = args.work / "scores", trainer.found
    folds = ["--folds", *sorted({str(one["fold"]) for one in scored(data)})]
    words = ["--ref", str(data / "data"), "--data-list", str(data / "list.json"), *folds, "--out", str(scores)]
    run("evaluate", "--pred", str(args.work / "predictions"), *words, "--allow-missing")
    summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))["methods"]["network"]
    plan = trainer.configuration_manager
    dice = summary["metrics"]["dsc"]
    parameters = sum(p.numel() for p in trainer.network.parameters()) / 1e6
    row = {
        "subject": "nnunet", "row": f"nnU-Net {PLAN}, batch {args.batch}", "n": summary["n"], "dice": dice["mean"],
        "ci95": dice["ci95"], "patch": list(plan.patch_size), "spacing_mm": list(plan.spacing),
        "parameters_m": parameters, "data": data.name, "threads": args.threads,
        **{key: found[key] for key in ("core_s", "batches", "last_loss")},
        "prepared_core_s": json.loads((args.work / "preprocessed" / trainer.plans_manager.dataset_name / "done.json")
                                      .read_text())["core_s"],
        "said": f"n {summary['n']}: Dice {dice['mean']:.3f}, {found['batches']} batches of {args.batch} in "
                f"{found['core_s']:.0f} core-seconds",
    }  # fmt: skip
    bench.keep(row, args)
    return 0


def run(*words: str) -> None:
    """Run a verb of ``monai-isles``; cases that fail do not end it."""
    if (code := isles([*words])) not in (EXIT_DONE, EXIT_SOME_FAILED):
        raise SystemExit(code)


if __name__ == "__main__":
    sys.exit(main())
