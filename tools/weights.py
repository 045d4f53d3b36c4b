"""Make the weights of a bundle: simulate, train to the stopping rule, search, calibrate, score, write the card.

``python tools/weights.py clerigues --out runs/weights/clerigues``, or ``make weights BUNDLE=clerigues``
``python tools/weights.py clerigues_mri --variant spes --out runs/weights/clerigues_mri_spes``

What is simulated and trained stands under ``weights`` in the bundle's ``paper.json``, of second weights of a bundle
under its ``variants``. Three data sets are made: one to train on, one to choose threshold, smallest lesion and
calibration on, and one that decides nothing and is scored. They lie in ``data`` beside ``--out``, and bundles that are
trained on the same share them. The bundle in the source tree changes only at the end, and with ``--keep`` not at all.
What is done is kept: repeat the command to go on after a stop.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from monai_isles.bundle.bundle import INFERENCE, METADATA, WEIGHTS, Bundle
from monai_isles.bundle.configs import setting
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.crossval.plan import Plan
from monai_isles.crossval.protocols import SIZES_VOX, Choice, grid_scores
from monai_isles.crossval.search import Calibrated, fit_calibration
from monai_isles.data import make_datalist
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED
from monai_isles.evaluation.pairs import find_references
from monai_isles.export.bundle import calibration_of
from monai_isles.inference.calibrated import Calibration
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.modalities import PERFUSION_MAPS
from monai_isles.reports.curves import best_epoch, read_curves

TRAIN, CALIBRATE, UNSEEN = "train", "calibrate", "unseen"
WATCHED, SCORED = 0, ("0", "1", "2", "3")
SPEED = ("precision", "compile", "memory_format")
SPLIT = {
    "folds": "5 folds that never split a subject, balanced by lesion volume, seed 0 (monai_isles.data.make_datalist)",
    "training_folds": [1, 2, 3, 4],
    "validation_fold": WATCHED,
}


@dataclass(frozen=True)
class Job:
    """Hold which weights are made of what, and where.

    Args:
        bundle: in the source tree. recipe: ``weights`` of its paper.json, or one of their ``variants``.
        out: folder of training, predictions and scores. variant: ``spes`` for ``models/spes.pt``, None for the first.
        changed: settings of the training above those of the recipe.
    """

    bundle: Bundle
    recipe: Mapping[str, Any]
    out: Path
    variant: str | None = None
    changed: Mapping[str, object] | None = None

    @property
    def settings(self) -> dict[str, object]:
        """Return what the training differs in from ``train.json`` under the recipe's overlays."""
        return {**self.recipe.get("settings", {}), **(self.changed or {})}

    @property
    def first(self) -> Job | None:
        """Return the training before this one, on other data or settings, beside ``out``; None without one."""
        first = self.recipe.get("first")
        return first and replace(
            self, recipe={**self.recipe, **first, "first": None}, out=self.out.with_name(f"{self.out.name}_first")
        )

    @property
    def overlays(self) -> list[str]:
        """Return the config files that training and prediction are under."""
        return list(self.recipe.get("overlays", ()))

    @property
    def weights(self) -> str:
        """Return where the weights lie in the bundle."""
        return f"models/{self.variant}.pt" if self.variant else WEIGHTS

    @property
    def network(self) -> dict[str, object]:
        """Return the settings that prediction shares with the training: the width, where it is not the bundle's."""
        config = self.bundle.config("inference")
        return {key: value for key, value in self.settings.items() if key in config and key not in SPEED}

    @property
    def ids(self) -> str:
        """Return the config that says what holds for these weights: another one where other weights need others."""
        return f"shipped_{self.variant}.json" if self.variant else "shipped.json" if self.network else INFERENCE

    def data(self, part: str) -> Path:
        """Return the folder of a data set; its name is how it is simulated."""
        return self.out.absolute().parent / "data" / re.sub(r"\W+", "_", self.recipe[part]).strip("_")


def main(words: Sequence[str] | None = None) -> int:
    """Do the steps that are not done."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("bundle", help="name of a bundle whose paper.json says how its weights are made")
    parser.add_argument("--out", type=Path, required=True, help="folder of training, predictions and scores")
    parser.add_argument("--variant", help="second weights of the bundle, by the overlay they are for")
    parser.add_argument("--set", nargs="+", action="extend", default=[], type=setting, metavar="KEY=VALUE",
                        help="settings of the training above those of paper.json, as JSON")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="leave the bundle of the source tree as it is")
    parser.add_argument("--device", default="one thread of a shared two-core server", help="for the card, in words")
    args = parser.parse_args(words)
    bundle = Bundle.open(args.bundle)
    if "weights" not in bundle.paper:
        parser.error(f"bundle {args.bundle}: its paper.json has no weights")
    recipe = bundle.paper["weights"]
    if args.variant and args.variant not in (variants := recipe.get("variants", {})):
        parser.error(f"argument --variant: the variants are {', '.join(variants) or 'none'}")
    job = Job(
        bundle, recipe["variants"][args.variant] if args.variant else recipe, args.out, args.variant, dict(args.set)
    )
    for part in (TRAIN, CALIBRATE, UNSEEN):
        simulate(job.data(part), job.recipe[part])
    run = train(job)
    trained = candidate(job, run)
    scores = score(job, trained)
    if not args.keep:
        install(job, trained, run, scores, args.device)
    return 0


def simulate(folder: Path, words: str) -> None:
    """Make one data set and the list of its folds."""
    if not (folder / "list.json").is_file():
        verb("phantom", "--out", str(folder / "data"), *words.split())
        publish_json(folder / "list.json", make_datalist(folder / "data", folds=5))


def train(job: Job) -> Path:
    """Train to the end, or go on from the last checkpoint; first in another way where the recipe says so."""
    run, settings = job.out / "run", job.settings
    if (run / "run.json").is_file():
        return run
    if before := job.first:
        simulate(before.data(TRAIN), before.recipe[TRAIN])
        settings = {**settings, "initial_weights": str((train(before) / "model.pt").absolute())}
    places = {"dataset_dir": job.data(TRAIN) / "data", "data_list": job.data(TRAIN) / "list.json", "output_dir": run,
              "cache_dir": job.out / "cache"}  # fmt: skip
    chosen = {**settings, **{name: str(path.absolute()) for name, path in places.items()}, "fold": WATCHED}
    publish_json(job.out / "settings.json", {"bundle_root": str(job.bundle.root), **chosen})
    configs = [str(job.bundle.file(name)) for name in ("train.json", *job.overlays)]
    call("-m", "monai.bundle", "run", "training", "--config_file", repr([*configs, str(job.out / "settings.json")]))
    return run


def candidate(job: Job, run: Path) -> Path:
    """Copy the bundle with the new weights, the pair and the calibration that scans of ``calibrate`` chose."""
    copy = job.out / "bundle" / job.bundle.root.name
    weights = run / "model.pt"
    if (copy / "chosen.json").is_file() and sha256_of(copy / job.weights) == sha256_of(weights):
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(job.bundle.root, copy)
    (copy / "models").mkdir(exist_ok=True)
    shutil.copyfile(weights, copy / job.weights)
    set_ids(copy / METADATA, **metadata_ids(job, copy, weights_sha256=sha256_of(weights)))
    set_ids(copy / job.ids, **job.network, calibration=None)
    data, folder = job.data(CALIBRATE), job.out / "maps"
    predict(job, copy, data, folder / "predictions")
    predictions = OutOfFold(folder, cast(Plan, None), [])
    cases = [
        case
        for case in find_references(data / "data", data_list=data / "list.json")
        if predictions.path(case).is_file()
    ]
    about = f"{len(cases)} simulated scans that were not trained on: {job.recipe[CALIBRATE]}"
    pair, smallest, fitted = choose(OutOfFold(folder, cast(Plan, None), cases), job.bundle.paper, about)
    fit = calibration_of(copy / job.weights)
    publish_json(fit, asdict(fitted.calibration))
    # of no other weights
    own = " if @weights == @bundle_root + '/models/model.pt' else None" if job.weights == WEIGHTS else ""
    ids = {"min_size_vox": None} | smallest | {"calibration": f"$@bundle_root + '/models/{fit.name}'{own}"}
    set_ids(copy / job.ids, threshold=fitted.threshold, **ids)
    publish_json(copy / "chosen.json", choice_record(fitted, {"threshold_of_the_network": pair.threshold, **smallest}))
    return copy


def choose(
    predictions: OutOfFold, paper: Mapping[str, Any], about: str
) -> tuple[Choice, dict[str, Any], Calibrated]:  # fmt: skip
    """Return the chosen pair, its smallest lesion by the id of the config, and the calibration.

    ``paper.json`` has ``sizes_vox``, or ``sizes_mm3`` for a smallest lesion in ml.
    """
    sizes_mm3 = paper.get("sizes_mm3", ())
    grid = grid_scores(predictions, paper.get("sizes_vox", SIZES_VOX), sizes_mm3=sizes_mm3)
    pair = grid.choose_by_volume()
    size = pair.min_size_vox
    smallest: dict[str, Any] = {"min_cluster_ml": size / 1000} if sizes_mm3 else {"min_size_vox": size}
    fitted = fit_calibration(predictions.cases, predictions.read, threshold=pair.threshold, about=about, **smallest)
    return pair, smallest, fitted


def metadata_ids(job: Job, folder: Path, **values: object) -> dict[str, object]:
    """Return what ``metadata.json`` has to say of these weights: ids of its own, or of a variant."""
    if job.variant is None:
        return values
    others = Bundle(folder).metadata.get("variants", {})
    return {"variants": others | {job.variant: others.get(job.variant, {}) | values}}


def predict(job: Job, bundle: Path, data: Path, out: Path, *more: str) -> float:
    """Predict a data set by a bundle's own weights; return the peak memory in GB."""
    words = [*(("--overlay", *job.overlays) if job.overlays else ()), *fast(job.bundle), *more]
    return verb("predict", str(data / "data"), "--data-list", str(data / "list.json"), "--bundle", str(bundle), "--out",
                str(out), *words, "--no-report")  # fmt: skip


def choice_record(fitted: Calibrated, chosen: Mapping[str, object]) -> dict[str, object]:
    """Return what was chosen, and how well probabilities fit before and after."""
    return {
        **chosen, "threshold": fitted.threshold,
        "ece_before": fitted.before.ece(), "ece_after": fitted.after.ece(),
        "reliability": fitted.after.curve(), "lesion_confidence": fitted.curve,
    }  # fmt: skip


def score(job: Job, trained: Path) -> Path:
    """Predict and score the unseen scans; where rules compete, a fifth of them tunes the single threshold instead."""
    data, scores, memory = job.data(UNSEEN), job.out / "scores", job.out / "memory.json"
    done, chosen = scores / "summary.json", trained / "chosen.json"
    if done.is_file() and done.stat().st_mtime > chosen.stat().st_mtime:
        return scores
    folds = ["--folds", *SCORED] if has_core_rule(job) else []
    peak = predict(job, trained, data, job.out / "predictions", *folds)
    if not memory.is_file():
        publish_json(memory, {"gb": round(peak, 2)})
    verb("evaluate", "--pred", str(job.out / "predictions"), "--ref", str(data / "data"), "--data-list",
         str(data / "list.json"), *folds, *(["--baseline"] if folds else []), "--allow-missing",
         "--out", str(scores))  # fmt: skip
    return scores


def has_core_rule(job: Job) -> bool:
    """Tell whether the clinics' rule for the core applies: to maps of CT perfusion."""
    return set(PERFUSION_MAPS) <= set(job.bundle.metadata["modalities"])


def install(job: Job, trained: Path, run: Path, scores: Path, device: str) -> None:
    """Take weights, calibration and pair over into the source tree and write the card."""
    root = job.bundle.root
    (root / "models").mkdir(exist_ok=True)
    for name in (job.ids, str(calibration_of(Path(job.weights)))):
        shutil.copyfile(trained / name, root / name)
    notes = [*stop_notes(job, run), *notes_of(scores, trained, job)]
    split = {**SPLIT, "data": f"simulated scans, phantom {job.recipe[TRAIN]}"}
    if job.variant:
        shutil.copyfile(run / "model.pt", root / job.weights)
        about = {"weights_sha256": sha256_of(run / "model.pt"), "eval_metrics": unseen_scores(scores), "notes": notes}
        set_ids(root / METADATA, **metadata_ids(job, root, **about, training_split=split))
        return
    set_ids(root / METADATA, training_split=split)
    if set(job.bundle.metadata["modalities"]) == {"ct", *PERFUSION_MAPS}:
        set_ids(root / METADATA, training_intensities=intensities(job))
    for name, variant in job.bundle.metadata.get("variants", {}).items():
        file = f"`models/{name}.pt`, SHA-256 `{variant['weights_sha256']}`"
        notes.append(f"With `--overlay {name}.json` ({file}): {' '.join(variant['notes'])}")
    memory = json.loads((job.out / "memory.json").read_text(encoding="utf-8"))["gb"]
    call("tools/model_card.py", str(root), "--run", str(run), "--scores", str(scores), "--predictions",
         str(job.out / "predictions"), "--device", device, "--memory-gb", f"{memory} GB", "--training-command",
         command(job), *(word for note in notes for word in ("--note", note)))  # fmt: skip


def intensities(job: Job) -> object:
    """Return what the training scans' maps hold in the brain, measured once a data set."""
    place = job.data(TRAIN) / "intensities.json"
    if not place.is_file():
        root = job.bundle.root
        call("docs/make/training_intensities.py", "--bundle", str(root), "--data", str(job.data(TRAIN) / "data"))
        publish_json(place, Bundle(root).metadata["training_intensities"])
    return json.loads(place.read_text(encoding="utf-8"))


def command(job: Job) -> str:
    """Return the commands that lead to these weights: the whole, and the trainings within it with their settings."""
    whole = f"python tools/weights.py {job.bundle.name} --out runs/weights/{job.bundle.name}"
    jobs = [part for part in (job.first, job) if part]
    lines = [line for part in jobs for line in training_commands(part, initial=job.first is not None and part is job)]
    lines = list(dict.fromkeys(lines))  # both trainings may be on the same scans
    return "\n".join([whole, f"# it begins with these {('two', 'three', 'four')[len(lines) - 2]} commands", *lines])


def training_commands(job: Job, *, initial: bool) -> list[str]:
    """Return how the training scans are simulated, and how the network is trained on them."""
    configs = [f"bundles/{job.bundle.name}/{name}" for name in ("train.json", *job.overlays)]
    data = {"dataset_dir": "DATA", "data_list": "LIST", "fold": WATCHED}
    given = {**job.settings, **data, **({"initial_weights": "FIRST/model.pt"} if initial else {})}
    words = [
        f"--{key} {shlex.quote(value if isinstance(value, str) else json.dumps(value))}" for key, value in given.items()
    ]
    listed = configs[0] if len(configs) == 1 else shlex.quote(repr(configs))
    return [f"monai-isles phantom --out DATA {job.recipe[TRAIN]}",
            f"python -m monai.bundle run training --config_file {listed} {' '.join(words)}"]  # fmt: skip


def stop_notes(job: Job, run: Path) -> list[str]:
    """Return what ended the training: the bundle's own rule, or the recipe's last epoch; and what the recipe says."""
    curves, config = read_curves(run / "curves.csv"), job.bundle.config("train")
    last, best = len(curves), round(best_epoch(curves))
    own, allowed = config["max_epochs"], job.settings.get("max_epochs", config["max_epochs"])
    patience = job.settings.get("patience", config["patience"] if "patience" in config else None)
    if last < cast(int, allowed):
        end = f"Early stop after {last} epochs: epoch {best} was best (patience {patience})."
    else:
        end = (f"Stopped after the {last} epochs that the recipe allows (`train.json`: {own}); epoch {best} was best"
               + (f", {last - best} of {patience} epochs of patience used up." if patience else "."))  # fmt: skip
    return [*job.recipe.get("notes", ()), end]


def unseen_scores(scores: Path) -> dict[str, object]:
    """Return mean Dice and its interval, with n and data named, as ``metadata.json`` has them."""
    network = json.loads((scores / "summary.json").read_text(encoding="utf-8"))["methods"]["network"]
    dice = network["metrics"]["dsc"]
    mean = {"mean": round(dice["mean"], 3), "ci95": [round(value, 3) for value in dice["ci95"]]}
    data = "simulated scans of unseen subjects (phantom)"
    return {"data": data, "cases": network["n"], "mean_dice": {"these weights": mean}}


def notes_of(scores: Path, trained: Path, job: Job) -> list[str]:
    """Return what the card says beside its table, each number from the scores of the unseen scans."""
    summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))["methods"]
    chosen = json.loads((trained / "chosen.json").read_text(encoding="utf-8"))
    smallest = chosen["min_size_vox"] if "min_size_vox" in chosen else f"{chosen['min_cluster_ml']:g} ml"
    network, small = summary["network"], summary["network"]["strata"]["<10 ml"]
    volumes, fitted = network["bland_altman"], Calibration.read(calibration_of(trained / job.weights))
    with (scores / "per_case.csv").open(encoding="utf-8") as file:
        held = interval_hits_by_third(list(csv.DictReader(file)))
    rules = [f"{name} {summary[key]['metrics']['dsc']['mean']:.3f}" for key, name in
             (("rcbf30", "rCBF < 30 %"), ("single_threshold", "best single threshold")) if key in summary]  # fmt: skip
    dice, beside = network["metrics"]["dsc"], f" ({', '.join(rules)})" if rules else ""
    below = f"lesions below 10 ml {small['metrics']['dsc']['mean']:.3f} (n {small['n']})" if small["n"] else ""
    return [
        f"Unseen scans ({job.recipe[UNSEEN]}), n {network['n']}{', with `--fast`' if fast(job.bundle) else ''}: mean "
        f"Dice {dice['mean']:.3f}, 95 % interval {dice['ci95'][0]:.3f} to {dice['ci95'][1]:.3f}{beside}"
        f"{'; ' if below else ''}{below}.",
        f"Volumes: R2 {network['volumes']['r2']:.2f}, bias {volumes['bias_ml']:+.1f} ml (limits of agreement "
        f"{volumes['lower_ml']:.1f} to {volumes['upper_ml']:.1f} ml).",
        *([f"The 90 % volume interval holds the reference in {sum(map(sum, held))} of {sum(map(len, held))} unseen "
           f"scans; by third of reference volume {', '.join(f'{sum(third)} of {len(third)}' for third in held)}."]
          if any(held) else []),
        f"Calibration was fitted on {fitted.about}. Temperature {fitted.temperature:.3g}, shift {fitted.shift:.3g}; "
        f"expected calibration error {chosen['ece_before']:.3f} before and {chosen['ece_after']:.3f} after on these "
        f"scans, {network['calibration']['ece']:.3f} on the unseen ones. T {chosen['threshold']:g} "
        f"({chosen['threshold_of_the_network']:g} before calibration) and Smin {smallest} were chosen on "
        "the same scans.",
    ]  # fmt: skip


def interval_hits_by_third(rows: Sequence[Mapping[str, str]]) -> list[list[bool]]:
    """Return for each third of the cases by reference volume which intervals hold it; cases without one left out."""
    cases = [[float(row[f"lesion_ml_{name}"] or "nan") for name in ("ref", "low", "high")] for row in rows]
    known = sorted(case for case in cases if all(map(math.isfinite, case)))
    held = [low <= ref <= high for ref, low, high in known]
    ends = [round(len(held) * third / 3) for third in range(4)]
    return [held[a:b] for a, b in zip(ends, ends[1:], strict=False)]


def fast(bundle: Bundle) -> list[str]:
    """Return the option of the coarser step, where the bundle has one."""
    return ["--fast"] if "fast_step" in bundle.config("inference") else []


def set_ids(path: Path, **values: object) -> None:
    """Change ids of a JSON file, which need not be there."""
    publish_json(path, (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}) | values)


def verb(*words: str) -> float:
    """Run a verb of ``monai-isles``; return what ``call`` does."""
    return call("-m", "monai_isles.cli.main", *words)


def call(*words: str) -> float:
    """Run Python in a process of its own, give its peak memory in GB; a failure ends all, cases that failed do not."""
    print("==", *words, flush=True)
    process = subprocess.Popen([sys.executable, *words])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code not in (EXIT_DONE, EXIT_SOME_FAILED):
        raise SystemExit(code)
    return used.ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
