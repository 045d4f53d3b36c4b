"""One small phantom on disk and one case in memory, shared by the room's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_isles.phantom import CaseArrays, make_case, make_dataset

SEED = 7


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training scans and one test scan of two slices, with their series."""
    return make_dataset(tmp_path_factory.mktemp("phantom") / "isles", cases=3, seed=SEED, test_cases=1, max_slices=2)


@pytest.fixture(scope="session")
def case() -> CaseArrays:
    """The second training scan of ``folder``, made in memory."""
    return make_case(2, seed=SEED, max_slices=2)
