"""``monai-isles check`` prints every finding and tells its verdict by the exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles import load_bundle
from monai_isles.cli.main import main
from monai_isles.io import read_image
from monai_isles.transforms.registration import mirror_or_midline

KEYS = {"CT": 40, "CT_CBF": 50, "CT_CBV": 4, "CT_MTT": 5, "CT_Tmax": 2}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    for number, (key, value) in enumerate(KEYS.items()):
        name = f"SMIR.Brain.XX.O.{key}.{number}"
        folder = tmp_path / "data" / "TRAINING" / "case_1" / name
        folder.mkdir(parents=True)
        data = value + np.random.default_rng(number).random((8, 8, 2)).astype(np.float32)
        image = nibabel.Nifti1Image(data, affine)
        image.set_sform(affine, 1)
        image.to_filename(folder / f"{name}.nii")
    return tmp_path / "data"


def test_warnings_alone_are_exit_0(dataset: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", str(dataset)]) == 0
    out = capsys.readouterr().out
    assert "warning E-LBL-03: no case has a lesion mask" in out and "needs masks" in out
    assert "0 errors, 2 warnings" in out
    assert (
        "warning E-REG-05: not a volume that can be registered\n  where training case_1\n  found shape (8, 8, 2)" in out
    )


def test_an_error_is_exit_4_with_where_found_and_fix(dataset: Path, capsys: pytest.CaptureFixture) -> None:
    next(dataset.rglob("*CT_CBF*.nii")).write_bytes(b"")
    assert main(["check", str(dataset)]) == 4
    out = capsys.readouterr().out
    assert (
        "error   E-FILE-02: file is empty\n  where training case_1: " in out
        and "\n  found 0 bytes\n  fix   copy" in out
    )


def test_a_case_without_a_mask_is_left_out_of_the_training_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    volume = np.random.default_rng(0).normal(100, 20, (32, 32, 4)).astype(np.float32)
    for name in ("a_dwi", "b_dwi", "b_mask"):
        data = volume if "dwi" in name else (volume > 130).astype(np.uint8)
        nibabel.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / f"{name}.nii.gz")
    main(["check", str(tmp_path)])
    assert capsys.readouterr().out.endswith("\nprepare, crossval and training will leave out 1 case: training a\n")


def test_json_holds_the_same_findings(dataset: Path, capsys: pytest.CaptureFixture) -> None:
    next(dataset.rglob("*CT_CBF*.nii")).unlink()
    assert main(["check", str(dataset), "--json"]) == 4
    content = json.loads(capsys.readouterr().out)
    assert (content["errors"], content["warnings"]) == (1, 1)
    assert main(["check", str(dataset)]) == 4
    out = capsys.readouterr().out
    assert "1 error, 1 warning\n" in out and "training will leave out 1 case: " in out
    assert {"code", "severity", "where", "found", "fix", "fault", "case"} == set(content["findings"][0])


def test_a_folder_that_is_not_there_is_no_missing_list(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", str(tmp_path / "nowhere")]) == 4
    assert "E-LIST-01: no case found" in (err := capsys.readouterr().err) and "no such folder" in err


def test_a_list_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "l.json").write_text('{"training": [{"case": "a", "subject": "s", "fold": 0, "ct": "../x"}]}')
    assert main(["check", str(tmp_path / "l.json")]) == 4
    assert "E-LIST-08" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code"),
    [('{"x": {"_target_": "monai.losses.DiceLoss"}}', 0), ('{"x": {"_target_": "os.system"}}', 5), ("{", 4)],
)
def test_bundles_are_clean_unsafe_or_unreadable(tmp_path: Path, text: str, code: int) -> None:
    (tmp_path / "train.json").write_text(text)
    assert main(["check", "--bundle", str(tmp_path)]) == code


def test_an_overlay_names_the_images_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for key, side in (("dwi", 1.0), ("adc", 1.0), ("flair", 2.0)):  # ISLES'22: FLAIR on a grid of its own
        data = np.random.default_rng(0).random((6, 5, 4), dtype=np.float32)
        nibabel.Nifti1Image(data, np.diag([2.0, 2.0, 2.0 * side, 1.0])).to_filename(tmp_path / f"sub-1_{key}.nii.gz")
    root = Path(load_bundle("clerigues_mri").root)
    assert main(["check", str(tmp_path), "--bundle", str(root)]) == 4
    assert "no T1-weighted MRI file" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--bundle", str(root / "dwi_adc.json")]) == 0
    out = capsys.readouterr().out
    assert "E-LIST-02" not in out and "E-GEOM-03" not in out
    shutil.copy(root / "dwi_adc.json", tmp_path / "alone.json")  # beside no bundle
    assert main(["check", str(tmp_path), "--bundle", str(tmp_path / "alone.json")]) == 0
    assert "E-GEOM-03" in capsys.readouterr().out


def test_nothing_to_check_is_a_usage_error(capsys: pytest.CaptureFixture) -> None:
    assert main(["check"]) == 2
    assert "E-USE-01: nothing to check" in capsys.readouterr().err


def test_no_network_library_is_loaded(dataset: Path) -> None:
    call = f"main(['check', {str(dataset)!r}])"
    words = f"import sys; from monai_isles.cli.main import main; {call}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False, capture_output=True).returncode == 0


def test_a_plain_folder_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "d").mkdir()
    for number, key in enumerate(("dwi", "adc")):
        data = np.random.default_rng(number).random((6, 5, 4), dtype=np.float32)
        nibabel.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / "d" / f"sub-1_{key}.nii.gz")
    assert main(["check", str(tmp_path / "d")]) == 0
    assert "E-LBL-03" in capsys.readouterr().out
    nibabel.Nifti1Image(data, np.diag([2.0, 1.0, 1.0, 1.0])).to_filename(tmp_path / "d" / "sub-1_adc.nii.gz")
    assert main(["check", str(tmp_path / "d")]) == 4
    assert "E-GEOM-03" in capsys.readouterr().out


def test_a_head_that_predict_would_remark_is_remarked(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    shutil.rmtree(folder / "TRAINING/case_3")
    (path,) = folder.glob("TRAINING/case_2/*.CT.*/*.nii")
    image = nibabel.load(path)
    voxels = np.array(image.get_fdata(dtype=np.float32))
    voxels[: voxels.shape[0] // 2 - 20] = -1000  # of one side 20 columns are left
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)
    assert main(["check", str(folder), "--json"]) == 0
    found = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["code"].startswith("E-REG")]
    assert [(one["code"], one["severity"], one["case"]) for one in found] == [
        ("E-REG-03", "warning", "training case_2")
    ]
    head = read_image(path, kind="ct")
    wanted = mirror_or_midline(head.data, head.spacing_mm[:2]).remark
    assert f"{found[0]['code']}: {found[0]['fault']} {found[0]['found']}" == wanted
