"""``monai-isles report`` from the shell's side."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Return the command line of a report on one small scored case, everything but ``--out``."""
    mask = np.zeros((24, 24, 2), np.uint8)
    mask[6:14, 6:14] = 1
    for name, array in (("pred/case_1/lesion", np.roll(mask, 1, 0)), ("ref/case_1/lesion", mask)):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 2.0, 5.0, 1.0])), path)
    (tmp_path / "ref" / "SIMULATED.txt").write_text("simulated\n")
    folders = [str(tmp_path / name) for name in ("pred", "ref", "scores")]
    assert main(["evaluate", "--pred", folders[0], "--ref", folders[1], "--out", folders[2]]) == 0
    return ["report", "--pred", folders[0], "--ref", folders[1], "--scores", folders[2]]


def test_the_page_is_written_and_named(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "page.html"
    capsys.readouterr()
    assert main([*words, "--out", str(out), "--title", "A & B", "--published", "clerigues"]) == 0
    said, page = capsys.readouterr().out, out.read_text(encoding="utf-8")
    assert "0.875 ± –" in said and str(out) in said  # 7 of 8 columns overlap: Dice 14/16
    assert "A &amp; B" in page and "Simulated data" in page and "0.547" in page and str(tmp_path) not in page


def test_json_is_one_object(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "page.html"), "--names", "demo", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["cases"] == 1 and said["methods"] == ["demo"] and said["simulated"] and said["bytes"] > 10_000


def test_missing_scores_are_refused_in_four_lines_and_no_page_appears(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([*words[:-1], str(tmp_path / "none"), "--out", str(tmp_path / "page.html")]) == 4
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 4 and lines[0].startswith("E-REP-01") and "summary.json" in lines[1]
    assert not (tmp_path / "page.html").exists()


def test_a_folder_as_page_is_refused_before_the_work(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--out", str(tmp_path)]) == 4
    assert "E-FILE-10" in (said := capsys.readouterr().err) and "such as page.html" in said


def test_too_few_names_are_refused(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--names", "a", "b", "--out", str(tmp_path / "page.html")]) == 4
    assert "E-REP-03" in capsys.readouterr().err


def test_the_mirrored_channels_are_shown_when_asked(words: list[str], tmp_path: Path) -> None:
    image = np.full((24, 24, 2), -1000.0, np.float32)
    image[3:21, 3:21] = 35.0
    nibabel.save(nibabel.Nifti1Image(image, np.diag([2.0, 2.0, 5.0, 1.0])), tmp_path / "ct.nii.gz")
    found = {"method": "rigid", "angle_deg": 0.0, "roll_deg": 0.0, "offset_mm": 0.0, "similarity": 0.9}
    found |= {"matrix": [[-1.0, 0.0], [0.0, 1.0]], "shift_mm": [0.0, 0.0]}
    result = {"modalities": {"ct": str(tmp_path / "ct.nii.gz")}, "registration": found}
    (tmp_path / "pred/case_1/result.json").write_text(json.dumps(result))
    for more, count in (([], 0), (["--mirrored"], 1)):
        assert main([*words, *more, "--out", str(tmp_path / "page.html")]) == 0
        assert (tmp_path / "page.html").read_text(encoding="utf-8").count("the same mirrored below") == count


def test_options_are_required() -> None:
    assert main(["report"]) == 2
