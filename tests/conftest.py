"""What several rooms' tests share: a few simulated two-slice scans, made once a process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_isles.io import publish_state
from monai_isles.networks import AsymmetricResUNet
from monai_isles.phantom import make_dataset


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated scans without their series; read only."""
    return make_dataset(tmp_path_factory.mktemp("phantom") / "data", cases=3, seed=5, series=False, max_slices=2)


@pytest.fixture(scope="session")
def untrained_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the CT network as it is born, from a fixed seed."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    publish_state(path, AsymmetricResUNet(2, 10).state_dict())
    return path
