"""A copy of the CT bundle with random weights, exported once."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_isles.export.bundle import Exported, export_bundle
from monai_isles.io.weights import publish_state
from monai_isles.networks import AsymmetricResUNet
from tests.fixtures.shared import made_once

SOURCE = Path(__file__).parents[2] / "bundles" / "clerigues"


def make_bundle(folder: Path, *, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for path in SOURCE.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    (folder / "README.md").write_text("# A model card\n", encoding="utf-8")
    publish_state(folder / "models" / "model.pt", random_network(seed).state_dict())
    content = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    for measured in ("weights_sha256", "eval_metrics"):
        content.pop(measured, None)
    (folder / "metadata.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def random_network(seed: int) -> AsymmetricResUNet:
    torch.manual_seed(seed)
    return AsymmetricResUNet(2, 10, 2, base_channels=8, levels=5).eval()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "source" / "clerigues")


@pytest.fixture
def other_weights(tmp_path: Path) -> Path:
    publish_state(tmp_path / "other.pt", random_network(1).state_dict())
    return tmp_path / "other.pt"


@pytest.fixture
def edit() -> Callable[..., None]:
    def change(path: Path, **values: object) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**content, **values}), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def network() -> AsymmetricResUNet:
    return random_network(0)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:

    def make(place: Path) -> None:
        done = export_bundle(make_bundle(place / "source" / "clerigues"), place / "out")
        (place / "exported").write_bytes(pickle.dumps(done))

    return pickle.loads((made_once(tmp_path_factory, "export", make) / "exported").read_bytes())
