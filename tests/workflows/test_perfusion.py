"""Many series are measured each alone, on one process or two, and not twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

import monai_isles.workflows.perfusion as workflow
from monai_isles.cli.main import main
from tests.fixtures.shared import Simulated


@pytest.fixture(scope="module")
def series(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two simulated scans, coarse, and a file that is none."""
    folder, paths = tmp_path_factory.mktemp("series"), []
    for number in (1, 2):
        case = simulated(number, 2018)
        frames = np.moveaxis(case.ctp, 0, -1)[::4, ::4]
        x, y, z = case.spacing_mm
        image = nibabel.Nifti1Image(frames, np.diag([4 * x, 4 * y, z, 1.0]))
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = case.dt_s
        paths.append(folder / f"scan_{number}.nii.gz")
        image.to_filename(paths[-1])
    (folder / "scan_3.nii.gz").write_bytes(paths[0].read_bytes()[:2000])
    return [*paths, folder / "scan_3.nii.gz"]


@pytest.mark.long
def test_two_workers_write_the_table_of_one_and_a_rerun_measures_the_rest(
    series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], warm_workers: None
) -> None:
    words = ["perfusion", *map(str, series), "--threads", "1", "--device", "cpu", "--no-motion", "--json", "--out"]
    assert main([*words, str(tmp_path / "one")]) == 3
    outcomes = {name: one["outcome"] for name, one in json.loads(capsys.readouterr().out)["cases"].items()}
    assert outcomes == {"scan_1": "ok", "scan_2": "ok", "scan_3": "failed"}
    table = (tmp_path / "one/per_case.csv").read_text()
    assert table.splitlines()[0] == "case,measured,frames,dt_s,brain_ml,cbf,cbv,mtt,tmax,ttp," + (
        "core_ml,hypoperfused_ml,mismatch_ml,mismatch_ratio"
    )
    assert [line.split(",")[:2] for line in table.splitlines()[1:]] == [
        ["scan_1", "1"],
        ["scan_2", "1"],
        ["scan_3", "0"],
    ]
    assert main([*words, str(tmp_path / "two"), "--workers", "2"]) == 3
    assert (tmp_path / "two/per_case.csv").read_bytes() == (tmp_path / "one/per_case.csv").read_bytes()
    for name in ("scan_1/tmax", "scan_2/brain"):
        one, two = ((tmp_path / place / f"{name}.nii.gz").read_bytes() for place in ("one", "two"))
        assert one == two
    capsys.readouterr()
    (tmp_path / "two/scan_2/perfusion.json").unlink()
    assert main([*words, str(tmp_path / "two")]) == 3
    again = {name: one["outcome"] for name, one in json.loads(capsys.readouterr().out)["cases"].items()}
    assert again == {"scan_1": "done before", "scan_2": "ok", "scan_3": "failed"}


def test_a_path_that_is_no_study_takes_no_other_along(series: list[Path], tmp_path: Path, capsys) -> None:
    assert main(["perfusion", str(tmp_path / "no.nii"), str(series[2]), "--out", str(tmp_path / "o")]) == 3
    said = capsys.readouterr().out
    assert "study 1: failed" in said and "E-SCAN-01" in said and "scan_3: failed" in said and "0 of 2 cases" in said


def test_a_kill_leaves_no_record_of_former_maps_beside_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record states the former settings: asked for again, they would be "done before"."""
    (tmp_path / "perfusion.json").write_text("{}")
    like = SimpleNamespace(spacing_mm=(1.0, 1.0, 5.0))
    monkeypatch.setattr(
        workflow, "read_perfusion_series", lambda *_, **__: SimpleNamespace(array=0, times_s=0, like=like)
    )
    monkeypatch.setattr(workflow, "prepare_series", lambda *_, **__: None)
    monkeypatch.setattr(workflow, "measured_maps", lambda *_, **__: SimpleNamespace(cbf=0))
    monkeypatch.setattr(workflow, "publish_image", lambda *_, **__: sys.exit("killed"))
    with pytest.raises(SystemExit, match="killed"):
        workflow.measure_series("ctp.nii", tmp_path, workflow.Measuring(method="bcsvd"))
    assert not list(tmp_path.iterdir())
