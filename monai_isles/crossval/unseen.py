"""Predict the test section of a data list with the averaged networks of all folds."""

from __future__ import annotations

import json
from pathlib import Path

from monai_isles.crossval.plan import DATA_LIST, read_plan
from monai_isles.crossval.search import POSTPROCESSING
from monai_isles.errors import refused
from monai_isles.io.runs import RunFolder


def predict_unseen(folder: Path, out: Path, *, section: str = "test") -> dict[str, dict[str, object]]:
    """Predict every case of ``section`` into ``out/<case>`` and return one record a case.

    The probabilities of all folds' networks are averaged; T and Smin are the pair that the search chose on the
    training cases. A case that was predicted with the same networks and settings is not predicted again.

    Args:
        folder: a searched cross-validation (``postprocessing.json`` is there).
        out: folder of the predictions.
    Raises:
        IslesError: ``E-REPR-04`` no search there, ``E-LIST-05`` a list without such cases, ``E-INF-*`` weights that
            do not fit.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.2; ``tests/papers/test_ablation.py``.
    """
    from monai_isles.data.entries import load_entries
    from monai_isles.inference.predict import predict_cases
    from monai_isles.inference.predictor import load_predictor

    plan, chosen = read_plan(folder), folder / POSTPROCESSING
    if plan is None or not chosen.is_file():
        raise refused("E-REPR-04", where=str(folder), found="no plan" if plan is None else f"no {POSTPROCESSING}")
    pair = json.loads(chosen.read_text(encoding="utf-8"))
    changes = {
        "dataset_dir": plan.dataset_dir,
        "threshold": pair["threshold"],
        "min_size_vox": pair["min_size_vox"],
    }
    entries = load_entries(
        folder / DATA_LIST, plan.dataset_dir, section=section, keys=plan.modalities, need_label=False
    )
    weights = [folder / f"fold_{fold}" / "model.pt" for fold in plan.folds]
    predictor = load_predictor(plan.open_bundle(), out, weights=weights, changes=changes)
    with RunFolder(out, outputs=[f"{entry['case']}/probability.nii.gz" for entry in entries]) as run:
        cases = predict_cases(predictor, entries, out)
        run.finish({"kind": "prediction", "section": section, "weights": predictor.weights, "cases": cases,
                    "settings": predictor.settings})  # fmt: skip
    return cases
