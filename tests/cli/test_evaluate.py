"""``monai-isles evaluate`` from its arguments to its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return predictions and references of two cases, Dice 1 and 0.5."""
    for case, (pred, ref) in {"case_1": (4, 4), "case_2": (2, 6)}.items():
        for side, size in (("pred", pred), ("ref", ref)):
            mask = np.zeros((8, 6, 2), np.uint8)
            mask[1 : 1 + size, 2, 0] = 1
            image = nibabel.Nifti1Image(mask, np.diag([1.0, 1.0, 5.0, 1.0]))
            image.header.set_xyzt_units("mm")
            image.set_sform(image.affine, 1)
            image.set_qform(image.affine, 1)
            path = tmp_path / side / case / "lesion.nii.gz"
            path.parent.mkdir(parents=True)
            nibabel.save(image, path)
    return tmp_path / "pred", tmp_path / "ref"


def _words(folders: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    return ["evaluate", "--pred", str(folders[0]), "--ref", str(folders[1]), "--out", str(out), *more]


def test_a_table_is_printed_and_three_files_are_written(folders, tmp_path: Path, capsys) -> None:
    assert main(_words(folders, tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert "ref (data as given): 2 cases of 2 subjects" in printed and "network  0.750 +- 0.354" in printed
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["per_case.csv", "run.json", "summary.json"]


def test_json_is_one_object_equal_to_the_file(folders, tmp_path: Path, capsys) -> None:
    assert main(_words(folders, tmp_path / "out", "--json")) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_a_seed_below_0_is_refused_before_the_scores(folders, tmp_path: Path, capsys) -> None:
    assert main(_words(folders, tmp_path / "out", "--seed", "-1")) == 2
    assert "argument --seed: -1 is below 0" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_case_without_a_prediction_is_left_out_refused_or_scored_as_empty(folders, tmp_path: Path, capsys) -> None:
    (folders[0] / "case_2" / "lesion.nii.gz").unlink()
    assert main(_words(folders, tmp_path / "out")) == 3
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["methods"]["network"]["n"] == 1 and list(summary["left_out"]) == ["case_2"]
    assert "E-EVAL-06" in summary["left_out"]["case_2"] and "case_2" in capsys.readouterr().out
    assert main(_words(folders, tmp_path / "out", "--strict")) == 4
    said = capsys.readouterr().err
    assert "E-EVAL-06" in said and "case_2" in said and "Traceback" not in said
    assert main(_words(folders, tmp_path / "out", "--allow-missing")) == 0
    assert "missing predictions 1" in capsys.readouterr().out


def test_an_input_folder_as_output_is_refused(folders) -> None:
    assert main(_words(folders, folders[0])) == 4


def test_a_missing_option_is_a_usage_error(folders) -> None:
    assert main(["evaluate", "--pred", str(folders[0])]) == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from monai_isles.cli.main import main; main(['evaluate', '--help']); "
        "sys.exit(bool({'numpy', 'torch', 'monai', 'nibabel', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "rCBF < 30 %" in done.stdout
