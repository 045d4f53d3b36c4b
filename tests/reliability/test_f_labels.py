"""Group F of the reliability list: lesion masks, odd or empty."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

Gate, Run = Callable[..., object], Callable[..., object]


@pytest.fixture
def relabel(folder: Path, image_of: Callable, rewrite: Callable) -> Callable[..., Path]:
    """Write other values into the mask of one case, and return its file."""

    def write(case: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
        path = image_of(folder / "TRAINING" / case, "OT")
        return rewrite(path, change(np.asarray(nibabel.load(path).dataobj)))

    return write


@pytest.fixture
def score(folder: Path, finished: Path, run: Run, tmp_path: Path) -> Run:
    """Score the predictions of case_1 and case_2 into ``out``."""
    words = ("evaluate", "--ref", folder, "--out", tmp_path / "out", "--allow-missing")
    return lambda *more: run(*words, *(more or ("--pred", finished)))


def three(mask: np.ndarray) -> np.ndarray:
    mask = mask.copy()
    mask[:5, 0, 0] = 2
    return mask


def row_of(path: Path, case: str) -> dict[str, str]:
    with path.open() as file:
        return next(row for row in csv.DictReader(file) if row["case"] == case)


@pytest.mark.long
def test_f1_a_mask_of_0_and_255_is_trained_on_as_0_and_1(relabel: Callable, training: Run, works: Gate) -> None:
    path = relabel("case_1", lambda mask: mask * np.uint8(255))
    works(training, "--fold", "1", says=["E-LBL-04", "case_1", path.name])


@pytest.fixture
def refused_by_all(
    folder: Path, finished: Path, relabel: Callable, run: Run, score: Run, refused: Gate, tmp_path: Path
) -> Callable[..., None]:
    """Require that check, datalist and evaluate refuse the changed mask of case_1."""

    def gate(change: Callable[[np.ndarray], np.ndarray], *says: str) -> None:
        named = ["case_1", relabel("case_1", change).name, "voxels)", *says]
        how = {"exit_code": 4, "code": "E-LBL-01", "says": named}
        refused(run, "check", folder, "--strict", **how)
        refused(run, "datalist", folder, "--strict", "--out", tmp_path / "list.json", **how)
        refused(score, "--pred", finished, "--strict", **how)

    return gate


def test_f1_a_mask_of_0_and_255_is_read_as_0_and_1_by_every_command(
    folder: Path, finished: Path, relabel: Callable, run: Run, score: Run, works: Gate, tmp_path: Path
) -> None:
    works(score)
    clean = row_of(tmp_path / "out/per_case.csv", "case_1")
    path = relabel("case_1", lambda mask: mask * np.uint8(255))
    works(run, "check", folder, says=["E-LBL-04", "case_1", path.name, "0 errors, 1 warning"])
    works(run, "datalist", folder, "--out", tmp_path / "list.json", "--folds", "2", says=["E-LBL-04"])
    shutil.rmtree(tmp_path / "out")
    works(score, says=["E-LBL-04"])
    assert row_of(tmp_path / "out/per_case.csv", "case_1") == clean


def test_f2_a_mask_of_halves_is_refused_by_every_command(refused_by_all: Callable) -> None:
    refused_by_all(lambda mask: mask * np.float32(0.5), "0.5 (", "map 0.5 to 1")


def test_f3_a_mask_of_three_labels_is_refused_by_every_command(refused_by_all: Callable) -> None:
    refused_by_all(three, "1 (", "2 (5 voxels)", "decide which values mean lesion")


@pytest.mark.long
def test_f4_a_case_without_lesion_is_trained_on_and_counted(
    folder: Path, relabel: Callable, run: Run, training: Run, works: Gate, tmp_path: Path
) -> None:
    relabel("case_2", np.zeros_like)
    works(run, "check", folder, says=["E-LBL-02", "case_2", "0 lesion voxels", "0 errors, 1 warning"])
    works(training, "--fold", "1")
    with (tmp_path / "run/curves.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert math.isfinite(float(row["train_loss"])) and math.isfinite(float(row["val_loss"]))


def test_f5_a_false_lesion_in_a_case_without_one_scores_zero_and_is_counted(
    relabel: Callable, score: Run, works: Gate, tmp_path: Path
) -> None:
    relabel("case_1", np.zeros_like)
    works(score, says=["empty references 1", "both empty 1, one empty 0"])
    network = json.loads((tmp_path / "out/summary.json").read_text())["methods"]["network"]
    assert network["n"] == 3 and network["empty_references"] == 1 and network["metrics"]["dsc"]["n"] == 3
    assert row_of(tmp_path / "out/per_case.csv", "case_1")["dsc"] == "0"
    assert row_of(tmp_path / "out/per_case.csv", "case_1")["empty"] == "reference"


def test_f6_a_distance_to_an_empty_mask_is_undefined_counted_and_imputed(
    relabel: Callable, score: Run, works: Gate, tmp_path: Path
) -> None:
    relabel("case_1", np.zeros_like)
    works(score, says=["undefined distances", "with the diagonal in their place"])
    network = json.loads((tmp_path / "out/summary.json").read_text())["methods"]["network"]
    row, distance = row_of(tmp_path / "out/per_case.csv", "case_1"), network["metrics"]["hd_mm"]
    assert row["hd_mm"] == "nan" and float(row["diagonal_mm"]) > 0
    assert distance["n"] + network["undefined_distances"] == network["n"] == distance["imputed"]["n"]
