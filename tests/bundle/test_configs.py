"""Bundles are judged before they run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.bundle.bundle import check_bundle
from monai_isles.bundle.configs import judge_config

CLEAN = {
    "device": {"_target_": "torch.nn.Identity"},
    "network": "$@network_def.to(@device)",
    "pre": {"_target_": "monai.transforms.LoadImaged", "keys": ["a"], "reader": "NibabelReader"},
    "nested": [{"deep": [{"_target_": "monai.losses.DiceLoss"}]}],
}


def judge(tmp_path: Path, content: object, name: str = "train.json") -> list:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return judge_config(tmp_path / name)


def test_a_clean_config_has_no_finding(tmp_path: Path) -> None:
    assert judge(tmp_path, CLEAN) == []


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"x": {"_target_": "os.system", "command": "id"}}, "E-SAFE-07", "x#_target_"),
        ({"nested": [{"deep": [{"_target_": "monai.data.utils.os.system"}]}]}, "E-SAFE-07", "nested#0#deep#0#_target_"),
        ({"x": {"_target_": ["os.system"]}}, "E-SAFE-07", "x#_target_"),
        ({"x": {"_target_": "$@y"}}, "E-SAFE-07", "x#_target_"),
        ({"x": {"_target_": "monai.transforms.LoadImage", "reader": "os.system"}}, "E-SAFE-07", "x#reader"),
        ({"x": {"_target_": "monai.transforms.LoadImage", "reader": ["subprocess.Popen"]}}, "E-SAFE-07", "x#reader#0"),
        ({"x": {"_target_": "monai.transforms.SaveImage", "writer": "os.system"}}, "E-SAFE-07", "x#writer"),
        ({"x": "$__import__('os').system('id')"}, "E-SAFE-08", "x"),
        ({"$__import__('os').system('id')": 1}, "E-SAFE-08", "(key)"),
        ({"imports": ["$import os"]}, "E-SAFE-08", "imports#0"),
        ({"x": "%/etc/evil.json::x"}, "E-SAFE-13", "x"),
        ({"x": "%../evil.json::x"}, "E-SAFE-13", "x"),
    ],
)
def test_unsafe_entries_are_named_by_their_place(tmp_path: Path, change: dict, code: str, place: str) -> None:
    found = judge(tmp_path, CLEAN | change)
    assert (
        found and found[0].code == code and place in found[0].where and "train.json" in found[0].where and found[0].fix
    )


def test_macros_within_the_bundle_pass(tmp_path: Path) -> None:
    assert judge(tmp_path, {"x": "%common.json::y", "y": "%device"}) == []


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    (finding,) = judge(tmp_path, '{"a": 1, "b": {"c": 1, "c": 2}}')
    assert finding.code == "E-SAFE-10" and finding.where.endswith(": c")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.yaml", "a: ["),
        ("a.yaml", "x: !!python/object/apply:os.system ['id']"),
        ("a.json", "\ud800"),
    ],
)
def test_what_cannot_be_read_safely_is_a_finding(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    (finding,) = judge_config(tmp_path / name)
    assert finding.code == "E-FILE-19" and name in finding.where and finding.severity == "error"


def test_yaml_is_judged_like_json(tmp_path: Path) -> None:
    assert judge(tmp_path, "x:\n  _target_: os.system\n", "a.yaml")[0].code == "E-SAFE-07"


@pytest.mark.parametrize("folder", ["", "configs"])
def test_a_bundle_is_all_its_configs_and_its_logging(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "train.json").write_text(json.dumps(CLEAN))
    (tmp_path / folder / "metadata.json").write_text('{"x": "$anything", "_target_": "os.system"}')
    assert check_bundle(tmp_path) == []
    (tmp_path / folder / "inference.yaml").write_text("x: $exit()")
    (tmp_path / folder / "logging.conf").write_text("[handler_a]\nclass=os.system\n")
    assert [f.code for f in check_bundle(tmp_path)] == ["E-SAFE-08", "E-SAFE-09"]


def test_scripts_in_a_bundle_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(CLEAN))
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "net.py").write_text("")
    (finding,) = check_bundle(tmp_path)
    assert (finding.code, finding.severity) == ("E-SAFE-14", "warning") and "net.py" in finding.where


def test_a_single_file_may_be_judged_and_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    assert [f.code for f in check_bundle(tmp_path)] == ["E-FILE-19"]
    (tmp_path / "a.json").write_text('{"x": "$exit()"}')
    assert [f.code for f in check_bundle(tmp_path / "a.json")] == ["E-SAFE-08"]
