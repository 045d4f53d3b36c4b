"""Predict with the ensemble of the networks of cross-validations: on new scans, or out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from monai_isles.case import Case
from monai_isles.crossval.out_of_fold import OutOfFold, Row, read_map, score_maps
from monai_isles.crossval.plan import DATA_LIST, Plan, read_plan
from monai_isles.crossval.run import require_whole
from monai_isles.crossval.search import POSTPROCESSING
from monai_isles.errors import refused
from monai_isles.io.payload import sha256_of
from monai_isles.io.read import Image
from monai_isles.modalities import LABEL

Members = Sequence[OutOfFold]
Cut = tuple[float, int]


def ensemble_members(members: Members) -> list[dict[str, object]]:
    """Return the content of ``ensemble.json``: loss (the folder's name), fold, weights and SHA-256 of every network."""
    require_one_network(members)
    listed: list[dict[str, object]] = []
    for member in members:
        for fold in member.plan.folds:
            path = member.folder / f"fold_{fold}/model.pt"
            listed.append({"row": member.folder.name, "fold": fold, "weights": str(path), "sha256": sha256_of(path)})
    return listed


def score_out_of_fold(members: Members) -> list[Row]:
    """Score the mean map of the networks, one per member, that were not trained on the scan.

    Source: ours, after Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), section 5.2.
    """
    require_one_network(members)

    def mean(case: Case) -> tuple[np.ndarray, Image]:
        maps, references = zip(*(member.read(case) for member in members), strict=True)
        return np.mean(maps, axis=0), references[0]

    return score_maps(members[0].cases, mean, "ensemble")


def predict_unseen(folder: Path, out: Path) -> dict[str, dict[str, object]]:
    """Predict the list's test section with all folds' networks and the searched T and Smin; return the records.

    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.2.
    """
    from monai_isles.data.entries import load_entries

    plan, chosen = read_plan(folder), folder / POSTPROCESSING
    if plan is None or not chosen.is_file():
        raise refused("E-REPR-04", where=str(folder), found="no plan" if plan is None else f"no {POSTPROCESSING}")
    listed, keys = folder / DATA_LIST, plan.modalities
    entries = load_entries(listed, plan.dataset_dir, section="test", keys=keys, need_label=False)
    weights = tuple(folder / f"fold_{fold}" / "model.pt" for fold in plan.folds)
    return _predict(plan, entries, out, weights=weights, postprocessing=chosen)


def _predict(plan: Plan, entries: list[dict[str, object]], out: Path, **choices: Any) -> dict[str, dict[str, object]]:
    from monai_isles.inference.predictor import Choices
    from monai_isles.workflows.predict import predict

    options: dict[str, Any] = {"bundle": plan.open_bundle(), "choices": Choices(**choices), "report": False}
    return predict(lambda **_: (entries, {}), out, **options)["cases"]


def score_unseen(members: Members, out: Path, *, folder: Path | None = None, cut: Cut | None = None) -> list[Row]:
    """Predict scans outside the training by the mean of all networks of all folds; score those with a lesion mask.

    Args:
        folder: a data folder; else the test section of the members' data list, which may be empty.
    Source: Abulnaga & Rubin 2018, section 5.2: five focal and five cross-entropy networks, probabilities averaged.
    """
    from monai_isles.data.datalist import read_datalist
    from monai_isles.data.entries import find_inputs, load_entries

    plan, listed = members[0].plan, members[0].folder / DATA_LIST
    if folder is not None:
        entries = [case.entry() for case in find_inputs([folder])]
    elif read_datalist(listed).get("test"):
        entries = load_entries(listed, plan.dataset_dir, section="test", keys=plan.modalities, need_label=False)
    else:
        return []
    weights = tuple(Path(str(item["weights"])) for item in ensemble_members(members))
    _require_unseen(plan, entries)
    pair = {} if cut is None else {"threshold": cut[0], "min_size_vox": cut[1]}
    require_whole({"folds": {}, "cases": _predict(plan, entries, out, weights=weights, **pair)}, str(out))
    cases = [Case.from_entry(entry) for entry in entries if entry.get(LABEL)]
    cuts = None if cut is None else {cast(int, case.fold): cut for case in cases}  # no fold: one key, None
    return score_maps(cases, lambda case: read_map(case, out / case.name / "probability.nii.gz"), "unseen scans", cuts)


def _require_unseen(plan: Plan, entries: Sequence[Mapping[str, object]]) -> None:
    """Refuse scans of the cross-validation itself: their scores would be those of training data."""
    key = plan.modalities[0]
    known = {files[key]: name for name, files in cast(dict, plan.fingerprints.get("inputs", {})).items()}
    seen = [f"{entry['case']} is {known[d]}" for entry in entries if (d := sha256_of(Path(str(entry[key])))) in known]
    if seen:
        raise refused("E-REPR-21", where=key, found=f"{len(seen)} equal files: {', '.join(seen[:6])}")


def inference_of(plan: Plan) -> dict[str, object]:
    """Return the inference config for the networks of a cross-validation."""
    return dict(plan.open_bundle().config("inference").get())


def require_one_network(members: Members) -> None:
    """Refuse members whose maps must not be averaged: other scans, other folds, or another network."""
    first = members[0].plan
    for member in members[1:]:
        same = {
            "folds": member.plan.folds == first.folds,
            "cases": member.plan.cases == first.cases,
            "inputs": member.plan.fingerprints.get("inputs") == first.fingerprints.get("inputs"),
            "network and preparation": inference_of(member.plan) == inference_of(first),
        }
        wrong = [name for name, equal in same.items() if not equal]
        if wrong:
            where = f"{members[0].folder} and {member.folder}"
            raise refused("E-REPR-20", where=where, found=f"differing: {', '.join(wrong)}")
