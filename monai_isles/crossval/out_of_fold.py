"""Predict and read the probability maps of a cross-validation, each by a network not trained on the case."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from monai_isles.bundle.configs import case_keys
from monai_isles.case import Case
from monai_isles.crossval.plan import DATA_LIST, PLAN, Plan, read_plan
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED, IslesError, refused
from monai_isles.evaluation.pairs import find_references, on_reference_grid
from monai_isles.evaluation.score import score_case
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_json
from monai_isles.io.read import Image, read_image
from monai_isles.io.runs import done_before, read_record
from monai_isles.postprocessing.components import binarise
from monai_isles.progress import progress

PREDICTIONS, PREDICTED = "predictions", "predicted.json"
_MACHINE = ("E-CACHE-", "E-COH-", "E-FILE-10", "E-RUN-")
_OF_A_CASE = ("E-DIM-", "E-FILE-", "E-GEOM-", "E-LBL-", "E-TIME-", "E-VAL-")
CaseMap = Callable[[Case], tuple[np.ndarray, Image]]
Row = dict[str, Any]


def predict_fold(out: Path, fold: int, *kept: str) -> dict[str, dict[str, object]]:
    """Predict every case of ``fold`` into ``out/predictions/<case>``, unless it is there; return the records."""
    from monai_isles.data.entries import load_entries
    from monai_isles.inference.predictor import Choices
    from monai_isles.workflows.predict import predict_cases, recipe_of

    plan = cast(Plan, read_plan(out))
    weights, changes = out / f"fold_{fold}" / "model.pt", {"dataset_dir": plan.dataset_dir}
    predictions = out / PREDICTIONS
    cache: dict[str, Any] = {"cache_dir": Path(kept[0]), "cache_gb": float(kept[1])} if kept else {}
    choices = Choices(weights=(weights,), **cache)
    predictor = recipe_of(plan.open_bundle(), predictions, choices=choices, changes=changes).load()
    wanted = case_keys(plan.open_bundle().config("inference"))
    entries = load_entries(out / DATA_LIST, plan.dataset_dir, folds=[fold], **wanted, need_label=True)
    cases = predict_cases(predictor, entries, predictions)
    (digest,) = predictor.weights.values()
    publish_json(out / f"fold_{fold}" / PREDICTED, {"weights_sha256": digest, "cases": cases})
    return cases


def _main() -> int:
    from monai_isles.inference.malloc import use_threads
    from monai_isles.training.run_options import plain_exits

    plain_exits()
    use_threads()
    cases = predict_fold(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    failed = [name for name, record in cases.items() if record["outcome"] == "failed"]
    return EXIT_SOME_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(_main())


@dataclass(frozen=True)
class OutOfFold:
    """Hold a cross-validation folder whose predictions are complete; ``left_out`` gives why a case could not be."""

    folder: Path
    plan: Plan
    cases: list[Case]
    left_out: dict[str, str] = field(default_factory=dict)

    def path(self, case: Case) -> Path:
        """Return the file of a case's probability map."""
        return self.folder / PREDICTIONS / case.name / "probability.nii.gz"

    def files(self, key: str) -> dict[str, str]:
        """Return the file of one modality by case."""
        from monai_isles.data.entries import load_entries

        folder, folds = self.plan.dataset_dir, sorted(self.plan.cases)
        entries = load_entries(self.folder / DATA_LIST, folder, folds=folds, keys=(key,), need_label=False)
        return {str(entry["case"]): str(entry[key]) for entry in entries}

    def read(self, case: Case) -> tuple[np.ndarray, Image]:
        """Return a case's probability map and its reference, see ``read_map``."""
        return read_map(case, self.path(case))

    def with_masks(self) -> OutOfFold:
        """Return this without the cases whose mask cannot be read or has another grid: they were not trained on."""
        reasons: dict[str, str] = {}
        for case in progress(self.cases, "checking masks"):
            try:
                self.read(case)
            except IslesError as error:
                if str(case.label) not in f"{error.where} {error.found}" or error.code.startswith(_MACHINE):
                    raise
                reasons[case.name] = str(error)
        if len(reasons) == len(self.cases):
            text = {"fault": "no mask fits", "fix": "correct the masks, and cross-validate again into another --out"}
            raise refused("E-SRCH-02", where=str(self.folder), found="; ".join(reasons.values()), **text)
        cases = [case for case in self.cases if case.name not in reasons]
        return replace(self, cases=cases, left_out=self.left_out | reasons)


def read_map(case: Case, path: Path) -> tuple[np.ndarray, Image]:
    """Return a probability map of a case and its reference, both on one grid. Shapes: ``(H, W, D)``."""
    reference = read_image(cast(Path, case.label), kind="label", where=case.name, label_values=case.label_values)
    probability = read_image(path, kind="probability", where=case.name)
    return on_reference_grid(probability, reference, case, kind="probability").data, reference


def score_maps(
    cases: Sequence[Case], read: CaseMap, title: str, cuts: Mapping[int, tuple[float, int]] | None = None
) -> list[Row]:
    """Return one row per case, with ``fold``: its scores at the ``cuts`` of its fold, by default 0.5 and no size."""
    lines = []
    for case in progress(cases, f"scoring {title}"):
        probability, reference = read(case)
        cut = (0.5, 0) if cuts is None else cuts[cast(int, case.fold)]
        scores = score_case(binarise(probability, *cut), reference.data > 0, reference.spacing_mm)
        lines.append({"case": case.name, "subject": case.subject, "fold": case.fold, **scores, "missing": 0})
    return lines


def find_out_of_fold(folder: str | Path) -> OutOfFold:
    """Return complete, out-of-fold predictions of a cross-validation, without cases that failed by themselves."""
    folder = Path(folder)
    plan = read_plan(folder)
    if plan is None:
        raise refused("E-SRCH-01", where=str(folder), found=f"no {PLAN}")
    try:
        cases = find_references(Path(plan.dataset_dir), data_list=folder / DATA_LIST, folds=list(plan.folds))
    except IslesError as error:
        if error.code != "E-LIST-02":
            raise
        fix = "restore these files; if the data folder was moved, repeat crossval with its new --dataset-dir"
        raise refused("E-LIST-02", where=error.where, found=error.found, fix=fix) from error
    result = OutOfFold(folder, plan, cases)
    missing = [case.name for case in cases if not result.path(case).is_file()]
    written = [read_record(folder / f"fold_{fold}" / PREDICTED).get("cases", {}) for fold in plan.folds]
    faults = {name: str(record.get("error", "")) for made in written for name, record in made.items()}
    for fold, ended in read_record(folder / "run.json").get("folds", {}).items():
        _, _, text = str(ended.get("error", "")).partition("\n")
        # no case of the fold could be read, so no network was trained for it; a strict training ends at any case
        strict = read_record(folder / f"fold_{fold}" / "settings.json").get("strict")
        if ended.get("step") == "training" and text.startswith(_OF_A_CASE) and not strict:
            faults |= dict.fromkeys(plan.cases[int(fold)], text)
    # a fault of the case comes again with a repetition, one of the machine may not
    own = {name: text for name, text in faults.items() if text.startswith("E-") and not text.startswith(_MACHINE)}
    reasons = {name: own[name] for name in missing if name in own}
    result = OutOfFold(folder, plan, [case for case in cases if case.name not in reasons], reasons)
    if len(missing) > len(reasons) or not result.cases:
        found = f"{len(missing)} of {len(cases)} cases: {', '.join(missing)}"
        raise refused("E-SRCH-02", where=str(folder / PREDICTIONS), found=found)
    foreign, left = [], tuple(sorted({cast(int, case.fold) for case in result.cases}))
    result = replace(result, plan=replace(plan, folds=left))
    own = {fold: sha256_of(folder / f"fold_{fold}" / "model.pt") for fold in left}
    for case in result.cases:
        stamp = {"weights_sha256": [own[cast(int, case.fold)]]}
        if not done_before(result.path(case).with_name("result.json"), stamp):
            foreign.append(f"{case.name} (fold {case.fold})")
    if foreign:
        raise refused("E-SRCH-03", where=str(folder / PREDICTIONS), found=", ".join(foreign))
    return result
