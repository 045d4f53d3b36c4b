"""The export verb: paths and checksums out, documented exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_isles.cli.main import main
from monai_isles.io.weights import publish_state
from monai_isles.networks import AsymmetricResUNet

SOURCE = Path(__file__).parents[2] / "bundles" / "clerigues"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "clerigues"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("models"))
    (folder / "README.md").write_text("# A model card\n", encoding="utf-8")
    publish_state(tmp_path / "model.pt", AsymmetricResUNet().state_dict())
    return folder


def test_export_says_what_it_wrote(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "export",
        str(bundle),
        "--out",
        str(tmp_path / "out"),
        "--weights",
        str(tmp_path / "model.pt"),
        "--no-graphs",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "clerigues.zip" in said and "models/model.pt" in said and "not a medical device" in said
    assert "--postprocessing FILE sets those of your weights" in said
    assert (tmp_path / "out" / "clerigues.zip").is_file()
    assert main(words) == 4
    assert capsys.readouterr().err.startswith("E-EXP-02")
    assert main([*words, "--force", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["folder"] == str(tmp_path / "out" / "clerigues") and len(record["checksums"]["models/model.pt"]) == 64


def test_export_without_weights_is_refused(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(bundle), "--out", str(tmp_path / "out")]) == 4
    said = capsys.readouterr().err
    assert said.startswith("E-EXP-01") and "--weights" in said


@pytest.mark.parametrize("verb", ["export", "crossval"])
def test_a_bundle_that_is_not_there_is_answered_with_those_that_have_a_name(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data-list", "list.json", "--dataset-dir", str(tmp_path)] if verb == "crossval" else []
    assert main([verb, str(tmp_path / "bundles/clerigues"), "--out", str(tmp_path / "out"), *words]) == 4
    said = capsys.readouterr().err
    assert said.startswith("E-INF-10: no bundle there") and "clerigues_mri" in said


def test_export_of_an_unsafe_bundle_exits_5(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "train.json").write_text(json.dumps({"network_def": {"_target_": "os.system"}}), encoding="utf-8")
    assert main(["export", str(bundle), "--out", str(tmp_path / "out"), "--weights", str(tmp_path / "model.pt")]) == 5
    assert "E-SAFE-07" in capsys.readouterr().err


def test_export_needs_a_target(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(bundle)]) == 2
    assert "--out" in capsys.readouterr().err


def test_what_a_search_chose_is_in_the_exported_configs(bundle: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "postprocessing.json"
    chosen.write_text('{"threshold": 0.3, "min_size_vox": 50}', encoding="utf-8")
    before = (bundle / "inference.json").read_bytes()
    words = ["export", str(bundle), "--out", str(tmp_path / "out"), "--weights", str(tmp_path / "model.pt")]
    assert main([*words, "--no-graphs", "--postprocessing", str(chosen)]) == 0
    for name in ("inference.json", "evaluate.json"):
        config = json.loads((tmp_path / "out/clerigues/configs" / name).read_text(encoding="utf-8"))
        assert (config["threshold"], config["min_size_vox"]) == (0.3, 50)
    assert (bundle / "inference.json").read_bytes() == before
