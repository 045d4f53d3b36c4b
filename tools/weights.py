"""Make the weights of a bundle: simulate, train to the stopping rule, search, calibrate, score, write the card.

``python tools/weights.py clerigues --out runs/weights/clerigues``, or ``make weights BUNDLE=clerigues``

What is simulated and trained stands under ``weights`` in the bundle's ``paper.json``. Three data sets are made: one to
train on, one to choose threshold, smallest lesion and calibration on, and one that decides nothing and is scored. The
bundle in the source tree changes only at the end, and with ``--keep`` not at all. What is done is kept: repeat the
command to go on after a stop.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from monai_isles.bundle.bundle import Bundle, setting
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.crossval.plan import Plan
from monai_isles.crossval.protocols import SIZES_VOX, grid_scores
from monai_isles.crossval.search import Calibrated, fit_calibration
from monai_isles.data import make_datalist
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED
from monai_isles.evaluation.pairs import find_references
from monai_isles.inference.calibrated import Calibration
from monai_isles.io import publish_json, sha256_of

TRAIN, CALIBRATE, UNSEEN = "train", "calibrate", "unseen"
WATCHED, SCORED = 0, ("0", "1", "2", "3")


def main(words: Sequence[str] | None = None) -> int:
    """Do the steps that are not done."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("bundle", help="name of a bundle whose paper.json says how its weights are made")
    parser.add_argument("--out", type=Path, required=True, help="folder of data, training, predictions and scores")
    parser.add_argument("--set", nargs="+", action="extend", default=[], type=setting, metavar="KEY=VALUE",
                        help="settings of the training above those of paper.json, as JSON")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="leave the bundle of the source tree as it is")
    parser.add_argument("--device", default="one thread of a shared two-core server", help="for the card, in words")
    args = parser.parse_args(words)
    bundle = Bundle.open(args.bundle)
    recipe: dict[str, Any] = bundle.paper["weights"]
    for name in (TRAIN, CALIBRATE, UNSEEN):
        simulate(args.out / name, recipe[name])
    run = train(bundle, args.out, {**recipe.get("settings", {}), **dict(args.set)}, recipe.get("overlays", ()))
    trained = candidate(bundle, args.out, run)
    scores = score(trained, args.out)
    if not args.keep:
        install(trained, bundle, args, run, scores)
    return 0


def simulate(folder: Path, words: str) -> None:
    """Make one data set and the list of its folds."""
    if not (folder / "list.json").is_file():
        verb("phantom", "--out", str(folder / "data"), *words.split())
        publish_json(folder / "list.json", make_datalist(folder / "data", folds=5))


def train(bundle: Bundle, out: Path, settings: Mapping[str, object], overlays: Sequence[str]) -> Path:
    """Train to the end, or go on from the last checkpoint."""
    run = out / "run"
    if (run / "run.json").is_file():
        return run
    places = {"dataset_dir": out / TRAIN / "data", "data_list": out / TRAIN / "list.json", "output_dir": run,
              "cache_dir": out / "cache"}  # fmt: skip
    chosen = {**settings, **{name: str(path.absolute()) for name, path in places.items()}, "fold": WATCHED}
    publish_json(out / "settings.json", {"bundle_root": str(bundle.root), **chosen})
    configs = [str(bundle.file("train.json")), *(str(bundle.file(one)) for one in overlays), str(out / "settings.json")]
    call("-m", "monai.bundle", "run", "training", "--config_file", repr(configs))
    return run


def candidate(bundle: Bundle, out: Path, run: Path) -> Path:
    """Copy the bundle with the new weights, the pair and the calibration that scans of ``calibrate`` chose."""
    copy = out / "bundle" / bundle.root.name
    weights = run / "model.pt"
    if (copy / "chosen.json").is_file() and sha256_of(copy / "models/model.pt") == sha256_of(weights):
        return copy
    folder, listed = out / CALIBRATE / "maps", out / CALIBRATE / "list.json"
    verb("predict", str(out / CALIBRATE / "data"), "--data-list", str(listed), "--bundle", str(bundle.root),
         "--weights", str(weights), "--out", str(folder / "predictions"), *fast(bundle), "--no-report")  # fmt: skip
    found = OutOfFold(folder, cast(Plan, None), [])
    cases = [one for one in find_references(out / CALIBRATE / "data", data_list=listed) if found.path(one).is_file()]
    found = OutOfFold(folder, cast(Plan, None), cases)
    pair = grid_scores(found, bundle.paper.get("sizes_vox", SIZES_VOX)).choose()
    about = f"{len(cases)} simulated scans that were not trained on: {bundle.paper['weights'][CALIBRATE]}"
    fitted = fit_calibration(
        cases, found.read, threshold=pair.threshold, min_size_vox=pair.min_size_vox, about=about
    )  # fmt: skip
    shutil.copytree(bundle.root, copy, dirs_exist_ok=True)
    shutil.copyfile(weights, copy / "models/model.pt")
    publish_json(copy / "models/calibration.json", fitted.calibration.record())
    set_ids(copy / "inference.json", threshold=fitted.threshold, min_size_vox=pair.min_size_vox,
            calibration="$@bundle_root + '/models/calibration.json'")  # fmt: skip
    set_ids(copy / "metadata.json", weights_sha256=sha256_of(weights))
    publish_json(copy / "chosen.json", said(fitted, pair.threshold, pair.min_size_vox))
    return copy


def said(fitted: Calibrated, threshold: float, min_size_vox: int) -> dict[str, object]:
    """Return what was chosen, and how well probabilities fit before and after."""
    return {
        "threshold_of_the_network": threshold, "threshold": fitted.threshold, "min_size_vox": min_size_vox,
        "ece_before": fitted.before.ece(), "ece_after": fitted.after.ece(),
        "reliability": fitted.after.curve(), "lesion_confidence": fitted.curve,
    }  # fmt: skip


def score(trained: Path, out: Path) -> Path:
    """Predict and score four fifths of the unseen scans; the others tune the single threshold of the baseline."""
    predictions, scores, listed = out / "predictions", out / "scores", out / UNSEEN / "list.json"
    data = ["--data-list", str(listed), "--folds", *SCORED]
    bundle = Bundle.open(trained)
    verb("predict", str(out / UNSEEN / "data"), *data, "--bundle", str(trained), "--out", str(predictions),
         *fast(bundle), "--no-report")  # fmt: skip
    verb("evaluate", "--pred", str(predictions), "--ref", str(out / UNSEEN / "data"), *data, "--baseline",
         "--allow-missing", "--out", str(scores))  # fmt: skip
    return scores


def install(trained: Path, bundle: Bundle, args: argparse.Namespace, run: Path, scores: Path) -> None:
    """Take weights, calibration and pair over into the source tree and write the card."""
    for name in ("inference.json", "models/calibration.json"):
        shutil.copyfile(trained / name, bundle.root / name)
    split = {**bundle.metadata["training_split"], "data": f"simulated scans, phantom {bundle.paper['weights'][TRAIN]}"}
    set_ids(bundle.root / "metadata.json", training_split=split)
    call("docs/make/training_intensities.py", "--bundle", str(bundle.root), "--data", str(args.out / TRAIN / "data"))
    notes = [word for note in notes_of(scores, trained) for word in ("--note", note)]
    call("tools/model_card.py", str(bundle.root), "--run", str(run), "--scores", str(scores), "--predictions",
         str(args.out / "predictions"), "--device", args.device, "--memory-gb", "0.81", *notes)  # fmt: skip


def notes_of(scores: Path, trained: Path) -> list[str]:
    """Return what the card says beside its table, each number from the scores of the unseen scans."""
    summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))
    chosen = json.loads((trained / "chosen.json").read_text(encoding="utf-8"))
    network, rule, single = (summary["methods"][name] for name in ("network", "rcbf30", "single_threshold"))
    small, volumes = network["strata"]["<10 ml"], network["bland_altman"]
    with (scores / "per_case.csv").open(encoding="utf-8") as file:
        held = held_by_third(list(csv.DictReader(file)))
    means = [one["metrics"]["dsc"]["mean"] for one in (network, rule, single)]
    fitted = Calibration.read(trained / "models/calibration.json")
    return [
        f"Unseen scans, n {network['n']}, with `--fast`: mean Dice {means[0]:.3f} (rCBF < 30 % {means[1]:.3f}, "
        f"best single threshold {means[2]:.3f}); lesions below 10 ml {small['metrics']['dsc']['mean']:.3f} "
        f"(n {small['n']}).",
        f"Volumes: R2 {network['volumes']['r2']:.2f}, bias {volumes['bias_ml']:+.1f} ml (limits of agreement "
        f"{volumes['lower_ml']:.1f} to {volumes['upper_ml']:.1f} ml).",
        f"The 90 % volume interval holds the reference in {sum(map(sum, held))} of {sum(map(len, held))} unseen scans; "
        f"by third of reference volume {', '.join(f'{sum(third)} of {len(third)}' for third in held)}.",
        f"Calibration fitted on {fitted.about}: temperature {fitted.temperature:.3g}, shift {fitted.shift:.3g}; "
        f"expected calibration error {chosen['ece_before']:.3f} before, {chosen['ece_after']:.3f} after, on the scans "
        f"it was fitted on, and {network['calibration']['ece']:.3f} on the unseen ones. T {chosen['threshold']:g} (of "
        f"the network itself {chosen['threshold_of_the_network']:g}) and Smin {chosen['min_size_vox']} were chosen "
        "there too.",
    ]


def held_by_third(rows: Sequence[Mapping[str, str]]) -> list[list[bool]]:
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
    """Change ids of a JSON file."""
    publish_json(path, json.loads(path.read_text(encoding="utf-8")) | values)


def verb(*words: str) -> None:
    """Run a verb of ``monai-isles``."""
    call("-m", "monai_isles.cli.main", *words)


def call(*words: str) -> None:
    """Run Python in a process of its own; a failure ends the whole, cases that failed do not."""
    print("==", *words, flush=True)
    code = subprocess.run([sys.executable, *words], check=False).returncode
    if code not in (EXIT_DONE, EXIT_SOME_FAILED):
        raise SystemExit(code)


if __name__ == "__main__":
    sys.exit(main())
