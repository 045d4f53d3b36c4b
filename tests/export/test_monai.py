"""MONAI's own tools accept the exported bundle, from any folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow, load, verify_net_in_out
from monai.bundle.utils import load_bundle_config

from monai_isles import __version__
from monai_isles.export.bundle import Exported
from monai_isles.io import read_image
from monai_isles.io.archives import unpack_zip
from monai_isles.networks import AsymmetricResUNet
from tests.reliability.children import Forks


@pytest.fixture(scope="module")
def unpacked(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("elsewhere") / "zoo"
    unpack_zip(exported.archive, place)
    return place / "clerigues"


@pytest.fixture(scope="module")
def phantom(unseen_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(unseen_folder, tmp_path_factory.mktemp("data") / "phantom")
    kinds = {"ct": "CT", "cbf": "CT_CBF", "cbv": "CT_CBV", "mtt": "CT_MTT", "tmax": "CT_Tmax"}
    paths = {key: next(folder.rglob(f"*XX.O.{kind}.*.nii")) for key, kind in kinds.items()}
    entry = {"case": "case_1", "subject": "one", **{key: p.relative_to(folder).as_posix() for key, p in paths.items()}}
    (folder / "list.json").write_text(json.dumps({"training": [], "test": [entry]}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("workflow", ["train", "inference"])
def test_load_returns_the_network_and_does_nothing_else(
    unpacked: Path, network: AsymmetricResUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workflow: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISLES2018_DIR", "none")
    loaded = load("clerigues", bundle_dir=unpacked.parent, workflow_type=workflow)
    assert isinstance(loaded, AsymmetricResUNet)
    window = torch.randn(1, 10, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(window), network(window))
    assert not list(tmp_path.iterdir())


def test_load_returns_the_torchscript_module_with_its_metadata(unpacked: Path) -> None:
    _, metadata, extra = load(
        "clerigues", bundle_dir=unpacked.parent, load_ts_module=True, config_files=["inference.json"]
    )
    assert metadata["version"] == __version__ and b"AsymmetricResUNet" in extra["inference.json"]


def test_the_network_takes_and_gives_what_the_metadata_says(unpacked: Path) -> None:
    configs = unpacked / "configs"
    verify_net_in_out(
        "network_def", meta_file=str(configs / "metadata.json"), config_file=str(configs / "inference.json"), n=2
    )


def test_the_zip_is_read_without_unpacking(exported: Exported) -> None:
    parser = load_bundle_config(str(exported.archive), "inference.json")
    assert parser["_meta_#version"] == __version__ and parser["bundle_root"] == "."


def test_the_configs_have_every_property_monai_asks_for(unpacked: Path, phantom: Path, tmp_path: Path) -> None:
    workflow = create_workflow(
        config_file=str(unpacked / "configs/inference.json"), workflow_type="infer", bundle_root=str(unpacked),
        dataset_dir=str(phantom), data_list=str(phantom / "list.json"), section="test", output_dir=str(tmp_path),
        logging_file=False,
    )  # fmt: skip
    assert workflow.check_properties() == []


def test_the_unpacked_copy_runs(unpacked: Path, phantom: Path, server: Forks) -> None:
    words = ["run", "--config_file", "configs/inference.json", "--dataset_dir", phantom, "--step", "[32,32]",
             "--mc_passes", "1", "--section", "test", "--data_list", phantom / "list.json"]  # fmt: skip
    done = server.run(*words, program="monai.bundle", folder=unpacked)
    assert done.code == 0, done.text
    probability = read_image(unpacked / "eval/case_1/probability.nii.gz")
    ct = read_image(next(phantom.rglob("*XX.O.CT.*.nii")))
    assert probability.grid_shape == ct.grid_shape and np.allclose(probability.affine, ct.affine)
    assert 0 <= probability.data.min() < probability.data.max() <= 1
