"""A bundle from elsewhere is judged whole, whether it comes as a folder or as a zip, and unpacked only when clean."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from monai_isles.bundle.judge import check_bundle
from monai_isles.errors import IslesError
from monai_isles.io import pack_zip, publish_json, publish_state, sha256_of


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle/mine"
    publish_json(folder / "configs/inference.json", {"network_def": {"_target_": "torch.nn.Linear"}, "x": "$len(@y)"})
    publish_state(folder / "models/model.pt", {"w": torch.zeros(3)})
    publish_json(folder / "configs/metadata.json", {"weights_sha256": sha256_of(folder / "models/model.pt")})
    return folder


def zipped(bundle: Path) -> Path:
    pack_zip(bundle.parent, bundle.parents[1] / "mine.zip")
    return bundle.parents[1] / "mine.zip"


def test_a_clean_zip_is_unpacked_in_one_step(bundle: Path, tmp_path: Path) -> None:
    assert check_bundle(bundle) == [] == check_bundle(zipped(bundle), unpack=tmp_path / "out")
    assert (tmp_path / "out/mine/models/model.pt").read_bytes() == (bundle / "models/model.pt").read_bytes()


def test_findings_name_the_place_inside_the_zip_and_nothing_is_unpacked(bundle: Path, tmp_path: Path) -> None:
    config = bundle / "configs/inference.json"
    config.write_text(json.dumps({"x": {"_target_": "os.system", "command": "true"}}))
    publish_state(bundle / "models/model.pt", {"w": torch.ones(3)})
    archive = zipped(bundle)
    found = check_bundle(archive, unpack=tmp_path / "out")
    assert [finding.code for finding in found] == ["E-SAFE-07", "E-SAFE-03"]
    assert found[0].where == f"{archive}/configs/inference.json: x#_target_" and not (tmp_path / "out").exists()


def test_a_hostile_member_is_one_finding(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../x", "x")
    (finding,) = check_bundle(tmp_path / "evil.zip", unpack=tmp_path / "out")
    assert finding.code == "E-SAFE-04" and not (tmp_path / "out").exists() and not (tmp_path.parent / "x").exists()


def test_a_folder_has_nothing_to_unpack(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-USE-70: only an archive can be unpacked\n.*\n.*mine is no zip"):
        check_bundle(bundle, unpack=tmp_path / "out")
