"""Write data_lists/isles2018.json from the tables of file ids and facts of the ISLES 2018 distribution.

    python tools/make_isles2018_list.py training_ids.csv testing_ids.csv training_facts.csv subjects.csv OUT.json

The tables hold no image: ids by case (case,CT,CT_CBF,...,OT), facts (case,slices,frames,lesion_ml), and which scans
very probably belong to one patient (case,subject).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from monai_isles.data.datalist import group_folds
from monai_isles.data.releases import KEYS
from monai_isles.data.schema import require_sound
from monai_isles.io.publish import publish_json

FOLDS, SEED = 5, 0
RULE = """Inferred, not official: no published table says which scans share a patient (94 scans, 63 patients).
Neighbouring scans that always stay together in the four fold lists of a published method (PerfU-Net, Medical Image
Analysis 2023, repository lucasdevries/perfu-net, data/train/fold_*.txt) are taken as two slabs of one patient: 32
pairs, 62 groups. One pair, case_28 and case_29, is written apart there and kept together here to be on the safe side;
read as two patients it gives 63. No pair crosses a change in the number of slices or frames.""".replace("\n", " ")


def main(training_ids: str, testing_ids: str, facts: str, subjects: str, out: str) -> None:
    """Write the list; ``ctp`` is left out, its ids are not in the tables."""
    training, testing = _rows(training_ids), _rows(testing_ids)
    known = {row["case"]: row for row in _rows(facts)}
    groups = {row["case"]: row["subject"] for row in _rows(subjects)}
    _require_slabs(groups, known)
    volumes = [float(known[row["case"]]["lesion_ml"]) for row in training]
    folds = group_folds([groups[row["case"]] for row in training], FOLDS, SEED, volumes_ml=volumes)
    content = {
        "name": "isles2018",
        "description": "CT perfusion of acute stroke, ISLES 2018; file names as distributed, data not included",
        "simulated": False,
        "grouping": {
            "source": "inferred",
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


def _require_slabs(groups: dict[str, str], facts: dict[str, dict[str, str]]) -> None:
    """Stop where scans of one subject differ in slices or frames: two slabs of one examination cannot."""
    for subject in set(groups.values()):
        own = {(facts[case]["slices"], facts[case]["frames"]) for case, name in groups.items() if name == subject}
        if len(own) > 1:
            sys.exit(f"{subject}: scans of different slices or frames {sorted(own)}")


def _paths(row: dict[str, str], section: str) -> dict[str, str]:
    names = {column: f"SMIR.Brain.XX.O.{column}.{row[column]}" for column in row if column != "case"}
    return {KEYS[column.upper()]: f"{section}/{row['case']}/{name}/{name}.nii" for column, name in names.items()}


def _rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
