"""A case goes to MONAI's flat dictionary and back without a loss."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.case import Case
from monai_isles.cli.main import main
from monai_isles.data import load_entries
from monai_isles.evaluation.pairs import find_masks
from monai_isles.io import publish_json

CASES = [
    Case("a", "s"),
    Case("a", "s", {"ct": Path("/d/ct.nii"), "tmax": Path("/d/t.nii")}, Path("/d/m.nii"), 0),
    Case("a", "s", {"dwi": Path("d.nii")}, Path("m.nii"), None, (1, 2), True, {"dwi": "0" * 64}),
    Case("a", "s", {"dwi": Path("d.nii")}, resample=True),
]


@pytest.mark.parametrize("case", CASES)
def test_a_case_comes_back_from_its_entry(case: Case) -> None:
    assert Case.from_entry(case.entry()) == case
    assert Case.from_entry(json.loads(json.dumps(case.entry()))) == case
    assert None not in case.entry().values()


def test_a_name_in_latin_1_is_readable_and_its_file_is_found_again(tmp_path: Path) -> None:
    name = os.fsdecode("Müller".encode("latin-1"))
    case = Case(name, name, {"dwi": tmp_path / name})
    assert (case.name, case.subject) == ("Müller", "Müller")
    publish_json(tmp_path / "entry.json", case.entry())
    assert Case.from_entry(json.loads((tmp_path / "entry.json").read_text(encoding="utf-8"))) == case
    (tmp_path / name).mkdir()
    put(tmp_path / name / "lesion.nii", np.ones((4, 4, 2)))
    assert find_masks(tmp_path) == {"Müller": tmp_path / name / "lesion.nii"}


def test_an_absent_fold_is_absent_everywhere() -> None:
    assert "fold" not in CASES[0].entry() and Case.from_entry({"case": "a", "subject": "s"}).fold is None
    assert CASES[1].entry()["fold"] == 0


def put(path: Path, data: np.ndarray, shift: float = 0.0) -> str:
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 3] = shift
    image = nibabel.Nifti1Image(data.astype(np.float32), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path.name


def test_the_word_resample_of_a_list_reaches_evaluate_with_baseline(tmp_path: Path) -> None:
    x, y = np.mgrid[:32, :32] - 15.5
    brain = np.repeat((np.hypot(x, y / 1.2) < 12)[..., None], 3, 2)
    cbf = np.where(brain, 50.0, 0)
    cbf[20:24, 12:18, 1] = 5
    maps = {"cbf": cbf, "cbv": 4.0 * brain, "mtt": 5.0 * brain, "tmax": np.where(cbf == 5, 9.0, 2.0) * brain}
    (tmp_path / "data").mkdir()
    (tmp_path / "pred").mkdir()
    entry = {"case": "a", "subject": "s", "resample": True}
    entry |= {key: put(tmp_path / "data" / f"a_{key}.nii", data, 4.0 * (key == "tmax")) for key, data in maps.items()}
    entry["ct"] = put(tmp_path / "data" / "a_ct.nii", np.where(brain, 35.0, -1000))
    entry["label"] = put(tmp_path / "data" / "a_mask.nii", cbf == 5)
    put(tmp_path / "pred" / "a.nii", cbf == 5)
    (tmp_path / "l.json").write_text(json.dumps({"test": [entry]}))
    (loaded,) = load_entries(tmp_path / "l.json", tmp_path / "data", section="test", keys=("ct",), need_label=True)
    assert loaded["resample"] is True and "fold" not in loaded
    words = ["evaluate", "--pred", tmp_path / "pred", "--ref", tmp_path / "data", "--out", tmp_path / "out"]
    words += ["--data-list", tmp_path / "l.json", "--section", "test", "--baseline"]
    assert main([*map(str, words)]) == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["methods"]["network"]["n"] == 1
    entry.pop("resample")
    (tmp_path / "l.json").write_text(json.dumps({"test": [entry]}))
    assert main([*map(str, words)]) == 4
