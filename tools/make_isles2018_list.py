"""Write data_lists/isles2018.json from the tables of file ids and facts of the ISLES 2018 distribution.

    python tools/make_isles2018_list.py training_ids.csv testing_ids.csv training_facts.csv data_lists/isles2018.json

The tables hold no image and no patient: ids by case (case,CT,CT_CBF,...,OT) and facts (case,slices,frames,lesion_ml).
"""

from __future__ import annotations

import csv
import sys
from itertools import groupby
from pathlib import Path

from monai_isles.data.datalist import group_folds
from monai_isles.data.releases import KEYS
from monai_isles.data.schema import require_sound
from monai_isles.io.publish import publish_json

FOLDS, SEED, SLAB_SLICES = 5, 0, 4
RULE = """No table says which scans share a patient (94 scans, 63 patients). Runs of consecutive scans with the same
number of slices, at most 4, and the same number of frames are kept together, so that two neighbouring slabs of one
patient cannot fall into different folds. A run holds several patients: groups are not patients, and numbers per subject
of this list mean nothing. With the images at hand make a better list: monai-isles datalist DIR.""".replace("\n", " ")


def main(training_ids: str, testing_ids: str, facts: str, out: str) -> None:
    """Write the list; ``ctp`` is left out, its ids are not in the tables."""
    training, testing = _rows(training_ids), _rows(testing_ids)
    known = {row["case"]: row for row in _rows(facts)}
    groups = _groups([known[row["case"]] for row in training])
    volumes = [float(known[row["case"]]["lesion_ml"]) for row in training]
    folds = group_folds([groups[row["case"]] for row in training], FOLDS, SEED, volumes_ml=volumes)
    content = {
        "name": "isles2018",
        "description": "CT perfusion of acute stroke, ISLES 2018; file names as distributed, data not included",
        "simulated": False,
        "grouping": {
            "source": "evidence",
            "provisional": True,
            "evidence": {"rule": RULE, "groups": len(set(groups.values())), "cases": len(groups)},
        },
        "folds": {"count": FOLDS, "seed": SEED, "balanced": ["cases", "lesion volume"]},
        "labels": {"0": "background", "1": "lesion"},
        "numTraining": len(training),
        "numTest": len(testing),
        "training": [
            {"case": row["case"], "subject": groups[row["case"]], "fold": fold} | _paths(row, "TRAINING")
            for row, fold in zip(training, folds, strict=True)
        ],
        "test": [
            {"case": row["case"], "subject": f"testing_{row['case']}"} | _paths(row, "TESTING") for row in testing
        ],
    }
    require_sound(content, out)
    publish_json(out, content)


def _groups(facts: list[dict[str, str]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for (slices, _), run in groupby(facts, key=lambda row: (int(row["slices"]), row["frames"])):
        cases = [row["case"] for row in run]
        ends = f"{cases[0].removeprefix('case_')}_{cases[-1].removeprefix('case_')}"
        for case in cases:
            named[case] = (
                f"group_{ends}" if slices <= SLAB_SLICES and len(cases) > 1 else f"group_{case.removeprefix('case_')}"
            )
    return named


def _paths(row: dict[str, str], section: str) -> dict[str, str]:
    names = {column: f"SMIR.Brain.XX.O.{column}.{row[column]}" for column in row if column != "case"}
    return {KEYS[column.upper()]: f"{section}/{row['case']}/{name}/{name}.nii" for column, name in names.items()}


def _rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
