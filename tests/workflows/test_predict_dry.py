"""A rehearsal reads and judges what a prediction would, runs no network and writes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

from monai_isles.cli.main import main
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/clerigues"


@pytest.fixture(autouse=True)
def no_network_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*inputs: object, **named: object) -> None:
        raise AssertionError("a network ran")

    monkeypatch.setattr(nn.Module, "__call__", fail)


@pytest.fixture
def folder(phantom_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(phantom_folder, tmp_path / "data")


@pytest.fixture
def rehearse(folder: Path, untrained_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Run ``predict --dry-run`` on the folder; nothing below the test's folder may change."""

    def run(
        *extra: str, bundle: Path = BUNDLE, out: Path = tmp_path / "out", weights: Path | None = untrained_weights
    ) -> tuple[int, str]:
        before = digests(tmp_path)
        given = () if weights is None else ("--weights", str(weights))
        words = ["predict", str(folder), "--bundle", str(bundle), "--out", str(out), *given, "--threads", "1"]
        code = main([*words, "--dry-run", *extra])
        assert digests(tmp_path) == before
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run


def digests(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.md5(p.read_bytes()).hexdigest() if p.is_file() else "" for p in folder.rglob("*")}


def image_of(folder: Path, number: int, key: str) -> Path:
    return next((folder / f"TRAINING/case_{number}").glob(f"*.{key}.*/*.nii"))


def test_it_says_what_would_be_done(rehearse: Callable) -> None:
    code, text = rehearse("--step", "16")
    assert code == 0 and "bundle clerigues: config and weights are sound" in text
    assert "case_1: ready, ct cbf cbv mtt tmax, 256 x 256 x 2 voxels of" in text
    assert f"at most {17 * 17 * 2} windows" in text
    assert "3 of 3 cases would be predicted into" in text and "nothing was written" in text


def test_it_can_be_had_as_json(rehearse: Callable, untrained_weights: Path) -> None:
    code, text = rehearse("--json")
    record = json.loads(text)
    assert code == 0 and record["kind"] == "dry run" and record["bundle"] == "clerigues"
    assert list(record["weights"].values()) == [sha256_of(untrained_weights)]
    assert record["cases"]["case_2"]["outcome"] == "ready" and record["cases"]["case_2"]["shape"] == [256, 256, 2]


def test_a_damaged_file_and_another_grid_fail_their_cases_alone(rehearse: Callable, folder: Path) -> None:
    cut, moved = image_of(folder, 1, "CT_CBF"), image_of(folder, 2, "CT_MTT")
    cut.write_bytes(cut.read_bytes()[:5000])
    image = nibabel.load(moved, mmap=False)
    affine = image.affine + np.array([[0, 0, 0, 40.0], [0] * 4, [0] * 4, [0] * 4])
    shifted = nibabel.Nifti1Image(np.asarray(image.dataobj), affine)
    shifted.header.set_xyzt_units("mm", "sec")
    nibabel.save(shifted, moved)
    code, text = rehearse()
    assert code == 3 and "1 of 3 cases would be predicted" in text and "Traceback" not in text
    assert "case_1: failed" in text and "E-FILE-05" in text and cut.name in text
    assert "case_2: failed" in text and "E-GEOM-03" in text and "case_3: ready" in text


def test_what_is_done_already_is_said(
    rehearse: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from monai_isles.workflows import predict_dry as module

    monkeypatch.setattr(module, "is_predicted", lambda folder, stamp: folder.name == "case_2")
    code, text = rehearse()
    assert code == 0 and "case_2: done before" in text and "2 of 3 cases would be predicted" in text
    assert "1 are done already" in text


def test_weights_are_verified(rehearse: Callable, untrained_weights: Path, tmp_path: Path) -> None:
    raw = bytearray(untrained_weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged, other, listed = (tmp_path / f"{name}.pt" for name in ("damaged", "other", "listed"))
    damaged.write_bytes(bytes(raw))
    publish_state(other, nn.Linear(2, 2).state_dict())
    torch.save([1, 2, 3], listed)
    for path, word in (
        (damaged, "E-FILE-15"),
        (other, "E-INF-12"),
        (listed, "E-INF-12"),
        (tmp_path / "no", "E-INF-11"),
        (tmp_path, "found a folder, no file"),
    ):
        code, text = rehearse(weights=path)
        assert code == 4 and word in text and path.name in text


def test_a_bundles_own_weights_are_those_of_its_metadata(
    rehearse: Callable, untrained_weights: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(BUNDLE, tmp_path / "mine"))
    assert rehearse(weights=None, bundle=mine)[0] == 0
    shutil.copy(untrained_weights, mine / "models/model.pt")
    code, text = rehearse(weights=None, bundle=mine)
    assert code == 5 and "E-SAFE-03" in text and "expected" in text
    (mine / "metadata.json").unlink()
    assert rehearse(weights=None, bundle=mine)[0] == 0


def test_an_unsafe_config_is_refused_with_code_five(rehearse: Callable, tmp_path: Path) -> None:
    config = json.loads((BUNDLE / "inference.json").read_text())
    config["run"] = ["$__import__('os').system('touch /tmp/x')"]
    publish_json(tmp_path / "foreign/inference.json", config)
    code, text = rehearse(bundle=tmp_path / "foreign")
    assert code == 5 and "E-SAFE-08" in text


def test_the_output_folder_is_judged(rehearse: Callable, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "file").write_text("")
    code, text = rehearse(out=tmp_path / "file/out")
    assert code == 4 and "E-RUN-02" in text and "is not a folder" in text
    code, text = rehearse(out=tmp_path / ("x" * 300))
    assert code == 4 and "E-RUN-03" in text


def test_a_folder_that_another_run_holds_is_refused(rehearse: Callable, tmp_path: Path) -> None:
    from monai_isles.io.runs import take

    (tmp_path / "out").mkdir()
    take(tmp_path / "out")
    code, text = rehearse()
    assert code == 4 and "E-RUN-01" in text


def test_results_that_would_replace_an_input_are_refused(rehearse: Callable, folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for key in ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT"):
        name = {"OT": "lesion", "CT": "ct"}.get(key, key[3:].lower())
        (plain / "case_1").mkdir(parents=True, exist_ok=True)
        image = nibabel.load(image_of(folder, 1, key))
        nibabel.save(image, plain / f"case_1/{name}.nii.gz")
    shutil.rmtree(folder)
    shutil.copytree(plain, folder)
    code, text = rehearse(out=folder)
    assert code == 3 and "E-USE-50" in text and "lesion.nii.gz" in text


def test_a_series_is_read_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = np.random.default_rng(0).uniform(0, 80, (16, 16, 2, 12)).astype(np.float32)
    image = nibabel.Nifti1Image(series, np.diag([2.0, 2.0, 8.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 1.5
    nibabel.save(image, tmp_path / "good.nii")
    (tmp_path / "cut.nii").write_bytes((tmp_path / "good.nii").read_bytes()[:-100])
    before = digests(tmp_path)
    words = ["predict-series", str(tmp_path / "good.nii"), str(tmp_path / "cut.nii"), "nowhere"]
    code = main([*words, "--bundle", "threshold", "--out", str(tmp_path / "out"), "--threads", "1", "--dry-run"])
    text = capsys.readouterr().out
    assert code == 3 and digests(tmp_path) == before
    assert "good: ready, ctp, 16 x 16 x 2 voxels of 2 x 2 x 8 mm, 12 frames in 16.5 s" in text
    assert "cut: failed" in text and "E-FILE-05" in text and "E-SCAN-01" in text
    assert "1 of 3 cases would be predicted" in text
