"""``monai-isles perfusion`` turns a raw series into maps on its own grid, and says what was wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from tests.fixtures.shared import Simulated


@pytest.fixture(scope="module")
def series(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated scan stored right to left, as scanners do."""
    case = simulated(1, 2018)
    path = tmp_path_factory.mktemp("series") / "ctp.nii.gz"
    affine = np.diag([-case.spacing_mm[0], case.spacing_mm[1], case.spacing_mm[2], 1.0])
    image = nibabel.Nifti1Image(np.moveaxis(case.ctp, 0, -1)[::-1], affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = case.dt_s
    image.to_filename(path)
    return path


def test_maps_lie_on_the_grid_of_the_series_with_a_record_beside_them(series: Path, tmp_path: Path, capsys) -> None:
    assert main(["perfusion", str(series), "--out", str(tmp_path / "out"), "--threads", "1", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "medians cbf" in out and "movement up to" in out and "warning: 2 slices" in out and "Research only" in out
    stored = nibabel.load(series)
    for name in ("cbf", "cbv", "mtt", "tmax", "ttp", "rcbf", "brain"):
        image = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")
        assert image.shape == stored.shape[:3] and np.allclose(image.affine, stored.affine, atol=1e-5)
    record = json.loads((tmp_path / "out/perfusion.json").read_text())
    assert len(record["aif_hu"]) == len(record["vof_hu"]) == record["frames"] == stored.shape[3]
    assert (
        record["settings"]["method"] == "learned"
        and record["settings"]["truncation"] == 0.5
        and record["motion"]["applied"]
        and record["midline"] == "mirror"
    )
    assert len(record["motion"]["path_right_mm_front_mm_turn_deg"]) == record["frames"]
    assert {"code", "severity", "text"} == set(record["flags"][0])
    assert json.loads((tmp_path / "out/run.json").read_text())["sha256"]
    assert record["settings"]["smoothing_mm"] == 5.0 and record["aif_scale"] >= 1.0 and record["noise_hu"] > 0
    assert len(record["aif_vox"]) == 12 and len(record["aif_vox"][0]) == 3 and record["vof_vox"]
    assert record["coverage"]["slices"] == 2 and record["healthy_side_cbf_ml_100g_min"] > 10
    assert record["scan"]["seconds"] == pytest.approx(record["dt_s"] * (record["frames"] - 1))
    assert record["tube_kv"] is None
    found = record["ischaemia"]
    assert f"Tmax > 6 s {found['hypoperfused_ml']:.1f} ml" in out and f"side {found['side']}" in out
    masks = [nibabel.load(tmp_path / f"out/{name}.nii.gz").get_fdata() > 0 for name in ("core", "hypoperfused")]
    voxel_ml = float(np.prod(stored.header.get_zooms()[:3])) / 1000
    assert found["core_ml"] == pytest.approx(masks[0].sum() * voxel_ml, abs=0.01)
    assert found["mismatch_ml"] == pytest.approx((masks[1].sum() - masks[0].sum()) * voxel_ml, abs=0.01)
    brain = nibabel.load(tmp_path / "out/brain.nii.gz").get_fdata() > 0
    relative = nibabel.load(tmp_path / "out/rcbf.nii.gz").get_fdata()
    assert 0.7 < np.median(relative[brain]) < 1.1


def test_another_method_without_motion_prints_json(series: Path, tmp_path: Path, capsys) -> None:
    words = [
        "--method",
        "tikhonov",
        "--truncation",
        "gcv",
        "--no-motion",
        "--dt",
        "1.5",
        "--smoothing-mm",
        "3",
        "--json",
    ]
    assert main(["perfusion", str(series), "--out", str(tmp_path / "o"), "--threads", "1", *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (
        record["settings"]["truncation"] == "gcv"
        and record["dt_s"] == 1.5
        and record["times_from"] == "given (--dt 1.5)"
    )
    assert record["motion"] == {"applied": False, "largest_mm": None, "path_right_mm_front_mm_turn_deg": None}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--truncation", "much"], 2, "E-USE-30: not a number"),
        (["--smoothing-mm", "400"], 2, "E-USE-31: the smoothing is out of range"),
        (["--truncation", "gcv"], 4, "E-PERF-08: method or truncation of the deconvolution is not valid"),
        (["--dt", "1400"], 4, "E-PERF-10: frames cannot be that far apart"),
        (["--dt", "1.4", "--times", "t.txt"], 2, "E-USE-65: frame times are given twice"),
        (["--times", "no.txt"], 4, "E-TIME-05: list of frame times does not fit"),
    ],
)
def test_settings_that_make_no_sense_are_four_lines(series: Path, tmp_path: Path, capsys, words, code, text) -> None:
    assert main(["perfusion", str(series), "--out", str(tmp_path / "o"), *words]) == code
    err = capsys.readouterr().err
    assert err.startswith(text) and [line.split()[0] for line in err.splitlines()[1:4]] == ["where", "found", "fix"]
    assert not (tmp_path / "o/run.json").exists()


def test_a_missing_file_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["perfusion", str(tmp_path / "no.nii.gz"), "--out", str(tmp_path / "o")]) == 4
    assert "E-SCAN-01" in capsys.readouterr().err
