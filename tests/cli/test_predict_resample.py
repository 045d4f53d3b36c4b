"""Images on another grid than the case's first: resampled when somebody asks for it, otherwise refused in mm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.io import read_image
from monai_isles.metrics import dsc
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.folder import save_lps

BUNDLE = Path(__file__).parents[2] / "bundles" / "threshold"
MAPS = ("cbf", "cbv", "mtt", "tmax")
LINE = "images: {ct: ct.nii.gz, cbf: cbf.nii.gz, cbv: cbv.nii.gz, mtt: mtt.nii.gz, tmax: tmax.nii.gz}\n"


@pytest.fixture
def case(scan: CaseArrays, tmp_path: Path) -> Path:
    """CT of 256 x 256 pixels, maps of 128 x 128 of twice the size over the same field of view."""
    folder = tmp_path / "data" / "anna"
    folder.mkdir(parents=True)
    x, y, z = scan.spacing_mm
    save_lps(scan.images["ct"], folder / "ct.nii.gz", spacing_mm=(x, y, z), level_mm=0.0)
    for key in MAPS:
        parts = scan.images[key].reshape(128, 2, 128, 2, -1)
        blocks = parts.sum((1, 3)) / np.maximum((parts > 0).sum((1, 3)), 1)
        save_lps(blocks, folder / f"{key}.nii.gz", spacing_mm=(2 * x, 2 * y, z), level_mm=0.0)
    (folder / "case.yml").write_text(LINE)
    return folder


@pytest.fixture
def predict(tmp_path: Path) -> Callable[..., int]:
    def run(*words: object) -> int:
        fixed = ["--bundle", str(BUNDLE), "--out", str(tmp_path / "out"), "--threads", "1"]
        return main(["predict", *fixed, *map(str, words)])

    return run


def core_ml(out: Path) -> float:
    core = read_image(out / "core.nii.gz")
    return float(core.data.sum() * np.prod(core.spacing_mm)) / 1000


def test_nobody_asked_so_it_is_refused_with_the_distance(
    predict: Callable[..., int], case: Path, tmp_path: Path, capsys
) -> None:
    assert predict(case) == 3
    said = capsys.readouterr().out
    assert "E-GEOM-04: images have different shapes" in said and "mm apart" in said and "--resample" in said
    assert not (tmp_path / "out" / "anna" / "lesion.nii.gz").exists()


@pytest.mark.parametrize("how", ["option", "case.yml", "data list"])
def test_who_asks_gets_the_result_on_the_grid_of_the_first_image(
    predict: Callable[..., int], case: Path, scan: CaseArrays, tmp_path: Path, how: str
) -> None:
    words: list[object] = [case]
    if how == "option":
        words.append("--resample")
    else:
        (case / "case.yml").write_text(LINE + "resample: true\n")
    if how == "data list":
        shutil.copytree(case, case.with_name("bert"))
        assert main(["datalist", str(tmp_path / "data"), "--folds", "2", "--out", str(tmp_path / "list.json")]) == 0
        assert json.loads((tmp_path / "list.json").read_text())["training"][0]["resample"] is True
        words = [tmp_path / "data", "--data-list", tmp_path / "list.json"]
    assert predict(*words) == 0
    out = tmp_path / "out" / "anna"
    lesion, ct = read_image(out / "lesion.nii.gz"), read_image(case / "ct.nii.gz", kind="ct")
    assert lesion.grid_shape == ct.grid_shape and np.allclose(lesion.affine, ct.affine)
    result = json.loads((out / "result.json").read_text())
    assert result["resample"] is True and result["perfusion"]["core_ml"] == pytest.approx(core_ml(out), rel=1e-3)
    assert (out / "report.html").is_file()


def test_the_result_is_near_that_of_maps_on_the_grid(
    predict: Callable[..., int], case: Path, scan: CaseArrays, tmp_path: Path
) -> None:
    assert predict(case, "--resample") == 0
    moved = read_image(tmp_path / "out" / "anna" / "core.nii.gz").data
    fine = tmp_path / "fine" / "anna"
    fine.mkdir(parents=True)
    for key in ("ct", *MAPS):
        save_lps(scan.images[key], fine / f"{key}.nii.gz", spacing_mm=scan.spacing_mm, level_mm=0.0)
    (fine / "case.yml").write_text(LINE)
    assert (
        main(["predict", str(fine), "--bundle", str(BUNDLE), "--out", str(tmp_path / "whole"), "--threads", "1"]) == 0
    )
    whole = read_image(tmp_path / "whole" / "anna" / "core.nii.gz").data
    assert core_ml(tmp_path / "whole" / "anna") > 5 and dsc(moved, whole) > 0.85


def test_a_run_without_the_word_does_not_take_over_what_was_resampled(
    predict: Callable[..., int], case: Path, capsys
) -> None:
    assert predict(case, "--resample") == 0 and predict(case) == 3
    assert "E-GEOM-04" in capsys.readouterr().out
