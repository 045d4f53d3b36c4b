"""An export tells the truth about its weights, and carries what the model zoo and the Hub ask for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from monai_isles.bundle import Bundle
from monai_isles.bundle.bundle import OF_WEIGHTS
from monai_isles.errors import IslesError
from monai_isles.export import zoo as zoo_module
from monai_isles.export.bundle import export_bundle
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state
from tests.reliability.children import Forks

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.name for path in (ROOT / "bundles").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def unet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unet") / "model.pt"
    publish_state(path, Bundle.open("unet").config("inference").get_parsed_content("network_def").state_dict())
    return path


def test_the_card_of_own_weights_says_so(unet_weights: Path, tmp_path: Path) -> None:
    source = shutil.copytree(ROOT / "bundles/unet", tmp_path / "unet", ignore=shutil.ignore_patterns("models"))
    of_others = (*OF_WEIGHTS, "weights_sha256")
    metadata = {key: value for key, value in Bundle(source).metadata.items() if key not in of_others}
    publish_json(source / "metadata.json", metadata)
    copied = export_bundle(source, tmp_path / "copied", weights=unet_weights, graphs=False)
    card = (copied.folder / "docs/README.md").read_text(encoding="utf-8")
    notice = f"> These weights (SHA-256 {sha256_of(unet_weights)}) replace the released ones, whose results,"
    assert card.startswith(notice)
    subprocess.run([sys.executable, ROOT / "tools/model_card.py", source], check=True)
    done = export_bundle(source, tmp_path / "out", weights=unet_weights, graphs=False)
    card = (done.folder / "docs/README.md").read_text(encoding="utf-8")
    assert "No trained weights" not in card and "No weights" not in card and "none shipped" not in card
    assert card.count(sha256_of(unet_weights)) == 2 and "Nothing was measured with these weights" in card
    assert {"## Performance", "## Limitations", "## License"} <= set(card.splitlines())


def test_the_hub_reads_licence_library_tags_and_the_measured_dice(tmp_path: Path) -> None:
    done = export_bundle("clerigues", tmp_path / "out", graphs=False)
    empty, front, card = (done.folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    said = yaml.safe_load(front)
    assert empty == "" and said["license"] == "apache-2.0" and said["library_name"] == "monai"
    assert {"medical", "cbf", "tmax"} <= set(said["tags"])
    dice = Bundle.open("clerigues").metadata["eval_metrics"]["mean_dice"]["these weights"]["mean"]
    (result,) = said["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == dice and result["dataset"]["type"] == "simulated"
    assert "--bundle . --out results" in card and "--config_file configs/train.json\n" in card
    assert "crossval . " in card and "Share:" not in card
    assert "--bundle clerigues" not in card.partition("## Performance")[0]
    assert "](docs/curves.png)" in card and (done.folder / "docs/curves.png").is_file()
    licence = (done.folder / "docs/data_license.txt").read_text(encoding="utf-8")
    assert "ICBM 152" in licence and "Simulated CT perfusion" in licence


def test_a_second_bundle_leaves_the_unit_test_of_the_first_where_it_is(tmp_path: Path) -> None:
    for name in ("threshold", "unet", "unet"):
        export_bundle(name, tmp_path / "out", graphs=False, zoo=True, force=True)
    names = sorted(Bundle.open(name).metadata["zoo_name"] for name in ("threshold", "unet"))
    tests = sorted(path.name for path in (tmp_path / "out/ci/unit_tests").iterdir())
    assert tests == [f"test_{name}.py" for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["ci", *names, *(f"{name}.zip" for name in names)]
    )


def test_zoo_names_are_the_zoo_s_kind_and_each_its_own() -> None:
    names = [Bundle.open(name).metadata["zoo_name"] for name in BUNDLES]
    assert len(set(names)) == len(names)
    assert all(name.endswith("_segmentation") and name.islower() for name in names)


def test_large_files_are_listed_below_an_address_or_refused(
    unet_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo_module, "LARGE_BYTES", 10**6)
    how = {"weights": unet_weights, "graphs": False, "zoo": True}
    with pytest.raises(IslesError, match=r"E-EXP-20.*\n.*stroke_core_ctp_unet.*\n.*models/model\.pt"):
        export_bundle("unet", tmp_path / "no", **how)
    done = export_bundle("unet", tmp_path / "out", url="https://example.org/unet/", **how)
    (row,) = yaml.safe_load((done.folder / "large_files.yml").read_text())["large_files"]
    assert row == {
        "path": "models/model.pt", "url": "https://example.org/unet/models/model.pt",
        "hash_val": sha256_of(unet_weights), "hash_type": "sha256",
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("name", "overlays"), [*((name, ()) for name in BUNDLES), ("clerigues_mri", ("spes.json",))])
def test_the_zoo_s_unit_test_of_the_bundle_passes(
    name: str, overlays: tuple[str, ...], server: Forks, tmp_path: Path
) -> None:
    weights = None
    if not Bundle.open(name).weights.is_file() and name != "threshold":
        torch.manual_seed(0)
        network = Bundle.open(name).config("inference").get_parsed_content("network_def")
        publish_state(weights := tmp_path / "model.pt", network.state_dict())
    how = {"overlays": overlays, "graphs": False, "zoo": True, "url": "https://example.org"}
    done = export_bundle(name, tmp_path / "out", weights=weights, **how)
    zoo_name = Bundle.open(name).metadata["zoo_name"]
    assert done.folder.name == zoo_name and done.archive.name == f"{zoo_name}.zip"
    script = tmp_path / f"out/ci/unit_tests/test_{zoo_name}.py"
    variables = {"BUNDLE_ROOT": str(done.folder)}
    ran = server.run("-v", script.name, program="unittest", folder=script.parent, variables=variables)
    assert ran.code == 0 and "Ran 2 tests" in ran.text, ran.text[-3000:]
