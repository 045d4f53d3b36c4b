"""The tool that writes a bundle's model card, with and without trained weights."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from monai_isles.bundle.bundle import Bundle, known_bundles
from monai_isles.errors import IslesError
from monai_isles.reports.card import require_card

ROOT = Path(__file__).resolve().parents[2]
COST = {
    "parameters_m": 7.04,
    "peak_memory_mb": 900,
    "seconds_per_slice_cpu": 2.5,
    "seconds_per_slice_gpu": None,
    "measured_by": "a command",
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_card_tool", ROOT / "tools/model_card.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bundle(root: Path, name: str) -> Path:
    metadata = json.loads((ROOT / "bundles/clerigues/metadata.json").read_text(encoding="utf-8"))
    made = root / name
    made.mkdir()
    (made / "metadata.json").write_text(json.dumps({**metadata, "name": f"the {name}", "cost": COST}))
    return made


@pytest.mark.parametrize("name", ["abulnaga", "wang", "clerigues_mri"])
def test_a_bundle_without_weights_gets_a_card_from_its_metadata_and_its_text(
    tmp_path: Path, tool: ModuleType, name: str
) -> None:
    made = bundle(tmp_path, name)
    tool.main([str(made), "--note", "a note of mine"])
    card = (made / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"# the {name}\n") and "No trained weights are shipped" in card
    assert "| Parameters | 7.04 M |" in card and "- a note of mine" in card
    assert f"--config_file bundles/{name}/train.json" in card and f"reproduce.py {name} --table" in card
    assert not (made / "models").exists()


def test_every_text_block_names_rows_that_are_published(tool: ModuleType) -> None:
    from monai_isles.papers.published import published_rows

    for folder in known_bundles().values():
        texts = tool.words_of(folder)
        assert all(published_rows(name) for name in texts.get("published", ()))
        assert ("published" in texts) == ("published" in Bundle(folder).paper)


def test_a_rule_without_weights_is_not_said_to_need_a_training(tmp_path: Path, tool: ModuleType) -> None:
    made = tmp_path / "threshold"
    made.mkdir()
    shutil.copyfile(ROOT / "bundles/threshold/metadata.json", made / "metadata.json")
    tool.main([str(made)])
    card = (made / "README.md").read_text(encoding="utf-8")
    assert "**Nothing is learned, so there are no weights" in card and "train it before use" not in card
    assert card == (ROOT / "bundles/threshold/README.md").read_text(encoding="utf-8")


def test_a_card_of_weights_holds_the_run_and_the_scores(
    tmp_path: Path, tool: ModuleType, folders: Callable[..., dict[str, Path]]
) -> None:
    made, paths, run = bundle(tmp_path, "clerigues"), folders(), tmp_path / "run"
    (made / "docs").mkdir()
    run.mkdir()
    (run / "model.pt").write_bytes(b"weights")
    lines = ("1,0.5,0.9,0.41,1800", "2,0.4,0.7,0.44,1800")
    (run / "curves.csv").write_text("epoch,train_loss,val_l1_error,val_dsc,seconds\n" + "\n".join(lines) + "\n")
    words = ("--run", run, "--scores", paths["scores"], "--predictions", paths["pred"], "--device", "an abacus")
    tool.main([str(word) for word in (made, *words, "--memory-gb", "1 GB")])
    card = (made / "README.md").read_text(encoding="utf-8")
    epochs = "2 epochs of 18420 patches (60 a scan, other ones every epoch)"
    assert f"1.0 h on an abacus: {epochs}, weights of epoch 2 kept (validation Dice 0.440)." in " ".join(card.split())
    assert "| n | 2 (2 subjects)" in card and "| Time per case | 12.5 s |" in card
    digest = json.loads((made / "metadata.json").read_text())["weights_sha256"]
    assert f"| SHA-256 | `{digest}` |" in card and (made / "models/model.pt").read_bytes() == b"weights"
    assert "No trained weights" not in card


def test_a_readme_written_by_hand_is_never_overwritten(tool: ModuleType, tmp_path: Path) -> None:
    made = tmp_path / "wang"
    shutil.copytree(ROOT / "bundles/wang", made)
    (made / "README.md").write_text("# Wang pseudo-DWI\n\nBy hand.\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, ROOT / "tools/model_card.py", made], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 4 and done.stderr.startswith("E-REP-13: the README of the bundle is written by hand\n")
    assert "no section Intended use, Memory, time, weights" in done.stderr and len(done.stderr.splitlines()) == 4
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    for name in ("abulnaga", "clerigues", "clerigues_mri", "threshold", "unet", "wang"):
        require_card(ROOT / "bundles" / name / "README.md")


def test_a_card_that_cannot_be_made_leaves_the_bundle_as_it_was(
    tmp_path: Path, tool: ModuleType, folders: Callable[..., dict[str, Path]]
) -> None:
    made, paths, run = bundle(tmp_path, "clerigues"), folders(), tmp_path / "run"
    run.mkdir()
    (run / "model.pt").write_bytes(b"weights")
    (run / "curves.csv").write_text("epoch,train_loss,val_l1_error,val_dsc,seconds\n1,0.5,0.9,0.41,1800\n")
    words = ("--run", run, "--scores", paths["scores"], "--predictions", paths["pred"], "--device", "an abacus")
    with pytest.raises(IslesError, match="E-REP-08(?s:.*)missing memory_gb"):
        tool.main([str(word) for word in (made, *words, "--memory-gb", "")])
    with pytest.raises(IslesError, match="E-REP-08(?s:.*)missing results"):
        tool.main([str(made)])
    assert [path.name for path in made.rglob("*")] == ["metadata.json"]


def test_the_card_of_a_bundle_with_weights_is_not_replaced_by_one_without(tool: ModuleType, tmp_path: Path) -> None:
    made = Path(shutil.copytree(ROOT / "bundles/unet", tmp_path / "unet"))
    with pytest.raises(SystemExit, match="2"):
        tool.main([str(made)])
    assert (made / "README.md").read_bytes() == (ROOT / "bundles/unet/README.md").read_bytes()


def test_half_a_run_is_refused(tmp_path: Path, tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main([str(bundle(tmp_path, "wang")), "--run", "x"])
    assert "also needs --scores, --predictions, --device, --memory-gb" in capsys.readouterr().err


def test_a_folder_that_is_no_bundle_is_named(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        tool.main(["nope"])
    assert "no metadata.json in nope" in capsys.readouterr().err
