"""A bundle is found by name or path in either layout; overlays and settings reach training and prediction alike."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_isles.bundle import Bundle
from monai_isles.bundle.bundle import check_bundle, known_bundles, verbatim
from monai_isles.errors import IslesError
from monai_isles.io import publish_json
from monai_isles.io.archives import pack_zip
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    publish_json(tmp_path / "train.json", {
        "epochs": 9, "channels": ["a", "b"], "network": {"width": 8, "deep": {"rate": 0.2}}, "list": [1],
        "run": ["train"], "fold": 0,
    })  # fmt: skip
    publish_json(tmp_path / "inference.json", {
        "channels": ["a", "b"], "network": {"width": 8, "deep": {"rate": 0.2}}, "step": [3, 3], "list": [1],
        "run": ["infer"],
    })  # fmt: skip
    publish_json(tmp_path / "thin.json", {
        "network#width": 4, "epochs": 5, "train#missing#deep": 1, "+list": [2], "run": ["other"], "channels": ["a"],
    })  # fmt: skip
    return tmp_path


def under(bundle: Path, overlays: list[str], settings: dict[str, object]) -> Bundle:
    return Bundle.open(bundle, overlays=overlays, settings=settings)


def test_later_files_and_then_settings_win(bundle: Path) -> None:
    publish_json(bundle / "thin.json", {"network#width": 4, "epochs": 5})
    settings = {"network#deep#rate": 0.5, "epochs": 2, "step": [6, 6]}
    config = under(bundle, ["thin.json"], settings).config("train")
    assert (config["epochs"], config["network"]["width"], config["network"]["deep"]["rate"]) == (2, 4, 0.5)
    assert "step" not in config


@pytest.mark.parametrize("path", ["/c#/@data/it's $x \\ü#", "/data/@plain"])
def test_a_path_reaches_the_config_as_it_is(path: str) -> None:
    config = ConfigParser({"root": verbatim(path), "file": "$@root + '/model.pt'", "data": 5})
    assert config.get_parsed_content("file") == f"{path}/model.pt"


def test_an_opened_bundle_takes_overlays_and_settings_above_its_own() -> None:
    opened = Bundle.open("clerigues", overlays=["demo.json"], settings={"lr": 1.0, "seed": 1})
    again = Bundle.open(opened, overlays=["letter.json"], settings={"seed": 2})
    assert again.overlays == ("demo.json", "letter.json") and again.settings == {"lr": 1.0, "seed": 2}
    assert Bundle.open(opened) == opened


def test_prediction_takes_the_changes_it_has_a_place_for_and_keeps_its_program(bundle: Path) -> None:
    settings = {"network::deep::rate": 0.5, "step": [6, 6], "epochs": 1}
    assert under(bundle, ["thin.json"], settings).config("inference").get() == {
        "network": {"width": 4, "deep": {"rate": 0.5}}, "list": [1, 2], "channels": ["a"], "step": [6, 6],
        "run": ["infer"],
    }  # fmt: skip


def test_training_gets_only_its_own_settings(bundle: Path) -> None:
    assert under(bundle, [], {"step": [6, 6], "epochs": 1}).training_settings() == {"epochs": 1}


@pytest.mark.parametrize("key", ["epcohs", "network#widht"])
def test_a_misspelt_setting_is_refused(bundle: Path, key: str) -> None:
    with pytest.raises(IslesError, match=rf"E-XVAL-02.*\n.*{key}(?s:.*)epochs"):
        under(bundle, [], {key: 1}).config("train")


def test_what_the_folds_decide_cannot_be_set_by_hand(bundle: Path) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-03: the folds decide.*\n.*fold"):
        under(bundle, [], {"fold": 1}).config("train")
    publish_json(bundle / "sly.json", {"held_out": [2]})
    with pytest.raises(IslesError, match=r"E-XVAL-03.*\n.*held_out"):
        under(bundle, ["sly.json"], {}).config("train")


@pytest.mark.parametrize("name", ["absent.json", "../clerigues/demo.json"])
def test_an_overlay_is_a_file_of_the_bundle(name: str) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-01: the bundle has no such config(?s:.*)demo\.json"):
        Bundle.open("clerigues", overlays=[name]).config("inference")


@pytest.mark.parametrize("use", ["train", "inference"])
def test_a_config_that_would_run_code_is_never_returned(bundle: Path, use: str) -> None:
    publish_json(bundle / "thin.json", {"channels": "$__import__('os').system('true')"})
    with pytest.raises(IslesError, match="E-SAFE-08"):
        Bundle(bundle).config(use)


def test_a_config_may_not_start_the_packages_own_child_processes(bundle: Path) -> None:
    target = {
        "_target_": "monai_isles.cohort.child_process.run_with_parent",
        "command": ["true"],
        "log": "x",
        "folder": ".",
    }
    publish_json(bundle / "thin.json", {"channels": target})
    assert [finding.code for finding in Bundle(bundle).judge()] == ["E-SAFE-07"]


def test_a_row_of_the_paper_is_an_overlay_made_of_named_settings_and_its_own(bundle: Path) -> None:
    rows = [{"key": "row_a", "use": ["one", "thin"], "settings": {"epochs": 3}}, {"key": "plain", "overlays": []}]
    shared = {"one": {"channels": ["b"], "epochs": 7}, "thin": {"network#width": 2}}
    publish_json(bundle / "paper.json", {"settings": shared, "rows": rows})
    wanted = {"channels": ["b"], "network#width": 2, "epochs": 3}
    assert Bundle(bundle).overlay("row_a") == wanted
    config = under(bundle, ["row_a"], {"epochs": 4}).config("train")
    assert (config["channels"], config["network"]["width"], config["epochs"]) == (["b"], 2, 4)
    assert under(bundle, ["row_a"], {}).config("inference")["channels"] == ["b"]
    assert json.loads(Bundle(bundle).overlay_file("row_a", bundle / "fold_0").read_text()) == wanted
    assert Bundle(bundle).overlay_file("thin.json", bundle / "fold_0") == bundle / "thin.json"
    for name in ("plain", "row_b"):
        with pytest.raises(IslesError, match=r"E-XVAL-01: the bundle has no such config(?s:.*)row_a"):
            Bundle(bundle).overlay(name)


def test_the_specifications_layout_is_found_too(tmp_path: Path) -> None:
    publish_json(tmp_path / "configs/train.json", {})
    publish_json(tmp_path / "configs/metadata.json", {"weights_sha256": "ab"})
    assert Bundle(tmp_path).file("train.json") == tmp_path / "configs/train.json"
    assert Bundle(tmp_path).weights_sha256 == "ab" and Bundle(tmp_path).weights == tmp_path / "models/model.pt"


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_metadata_that_says_nothing_certain_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(IslesError, match="E-EXP-11: metadata is not JSON\n.*metadata.json"):
        _ = Bundle(tmp_path).weights_sha256


def test_a_name_stands_for_the_bundle_of_the_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(known_bundles()) >= {"abulnaga", "clerigues", "clerigues_mri", "threshold", "wang"}
    monkeypatch.chdir(tmp_path)
    assert Bundle.open("clerigues").root == ROOT / "bundles/clerigues" and Bundle.open("wang").name == "wang"
    publish_json(tmp_path / "clerigues/inference.json", {"own": 1})
    assert Bundle.open("clerigues").config("inference")["own"] == 1  # a path that exists goes first


def test_an_installed_package_of_bundles_goes_before_the_source_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_json(tmp_path / "monai_isles_bundles/clerigues/inference.json", {"own": 1})
    publish_json(tmp_path / "monai_isles_bundles/mine/configs/inference.json", {})
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert Bundle.open("clerigues").root == tmp_path / "monai_isles_bundles/clerigues"
    assert Bundle.open("mine").name == "mine" and Bundle.open("wang").root == ROOT / "bundles/wang"


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        IslesError, match=r"E-INF-10.*\n.*clerigue\n.*no inference\.json(?s:.*)clerigues, clerigues_mri"
    ):
        Bundle.open("clerigue").config("inference")


def test_weights_and_configs_are_in_the_fingerprint(bundle: Path) -> None:
    seen = [Bundle(bundle).fingerprint()]
    publish_json(bundle / "thin.json", {"epochs": 6})
    seen.append(Bundle(bundle).fingerprint())
    publish_state(bundle / "models/model.pt", {"w": torch.zeros(3)})
    seen.append(Bundle(bundle).fingerprint())
    assert len(set(seen)) == 3 and Bundle(bundle).fingerprint() == seen[-1]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle/mine"
    publish_json(folder / "configs/inference.json", {"network_def": {"_target_": "torch.nn.Linear"}, "x": "$len(@y)"})
    publish_state(folder / "models/model.pt", {"w": torch.zeros(3)})
    publish_json(folder / "configs/metadata.json", {"weights_sha256": sha256_of(folder / "models/model.pt")})
    return folder


def zipped(bundle: Path) -> Path:
    pack_zip(bundle.parent, bundle.parents[1] / "mine.zip")
    return bundle.parents[1] / "mine.zip"


def test_a_clean_zip_is_unpacked_in_one_step(whole: Path, tmp_path: Path) -> None:
    assert check_bundle(whole) == [] == check_bundle(zipped(whole), unpack=tmp_path / "out")
    assert (tmp_path / "out/mine/models/model.pt").read_bytes() == (whole / "models/model.pt").read_bytes()


def test_findings_name_the_place_inside_the_zip_and_nothing_is_unpacked(whole: Path, tmp_path: Path) -> None:
    config = whole / "configs/inference.json"
    config.write_text(json.dumps({"x": {"_target_": "os.system", "command": "true"}}))
    publish_state(whole / "models/model.pt", {"w": torch.ones(3)})
    archive = zipped(whole)
    found = check_bundle(archive, unpack=tmp_path / "out")
    assert [finding.code for finding in found] == ["E-SAFE-07", "E-SAFE-03"]
    assert found[0].where == f"{archive}/configs/inference.json: x#_target_" and not (tmp_path / "out").exists()


def test_a_hostile_member_is_one_finding(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../x", "x")
    (finding,) = check_bundle(tmp_path / "evil.zip", unpack=tmp_path / "out")
    assert finding.code == "E-SAFE-04" and not (tmp_path / "out").exists() and not (tmp_path.parent / "x").exists()


def test_a_folder_has_nothing_to_unpack(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-USE-70: only an archive can be unpacked\n.*\n.*mine is no zip"):
        check_bundle(whole, unpack=tmp_path / "out")


def test_a_zip_opens_as_the_bundle_inside_it_once_and_anew_when_it_changes(whole: Path) -> None:
    archive = zipped(whole)
    opened = Bundle.open(archive)
    assert opened.name == "mine" and opened.config("inference")["x"] == "$len(@y)" and opened.root != whole
    assert Bundle.open(archive).root == opened.root
    publish_json(whole / "configs/extra.json", {})
    archive.unlink()
    assert opened.find("extra.json") is None and Bundle.open(zipped(whole)).find("extra.json")


def test_a_zip_that_macos_made_opens(whole: Path) -> None:
    with zipfile.ZipFile(archive := zipped(whole), "a") as added:
        added.writestr("__MACOSX/mine/._metadata.json", b"x")
    assert Bundle.open(archive).name == "mine" and check_bundle(archive) == []


def test_a_zip_that_holds_code_or_leaves_its_folder_is_not_opened(whole: Path, tmp_path: Path) -> None:
    torch.save({"w": Path()}, whole / "models/model.pt")
    publish_json(whole / "configs/metadata.json", {})
    with pytest.raises(IslesError, match=r"E-SAFE-01.*\n.*mine\.zip"):
        Bundle.open(zipped(whole))
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("../out.json", "{}")
    with pytest.raises(IslesError, match="E-SAFE-04"):
        Bundle.open(tmp_path / "slip.zip")
