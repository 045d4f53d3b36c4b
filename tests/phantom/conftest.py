"""Small phantoms on disk and cases in memory, shared by the room's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_isles.phantom import make_dataset
from monai_isles.phantom.ct.scan import CaseArrays
from tests.fixtures.shared import Simulated, made_once, make_mri_case, once

SEED = 7


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training scans and one test scan of two slices, with their series."""

    def make(home: Path) -> None:
        make_dataset(home / "isles", cases=3, seed=SEED, test_cases=1, max_slices=2)

    return made_once(tmp_path_factory, "isles", make) / "isles"


@pytest.fixture(scope="session")
def case(simulated: Simulated) -> CaseArrays:
    """The second training scan of ``folder``, made in memory."""
    return simulated(2, SEED)


@pytest.fixture(scope="session")
def siss(tmp_path_factory: pytest.TempPathFactory) -> list[CaseArrays]:
    """Six sub-acute cases on a coarse grid."""
    return once(tmp_path_factory, "siss", lambda: six_cases("siss"))


@pytest.fixture(scope="session")
def spes(tmp_path_factory: pytest.TempPathFactory) -> list[CaseArrays]:
    """Six acute cases on a coarse grid."""
    return once(tmp_path_factory, "spes", lambda: six_cases("spes"))


def six_cases(kind: str) -> list[CaseArrays]:
    return [make_mri_case(n, kind=kind, seed=SEED, spacing_mm=4.0) for n in range(1, 7)]


def other_side(image: np.ndarray, case: CaseArrays) -> np.ndarray:
    """Return the other hemisphere's value at every voxel, mirrored about the plane of the true landmarks."""
    pairs = np.array(case.truth["landmarks_vox"])
    normal = (pairs[:, 1] - pairs[:, 0]).mean(0)
    normal /= np.linalg.norm(normal)
    voxels = np.indices(case.label.shape).astype(np.float64)
    offset = np.tensordot(normal, voxels, 1) - pairs.mean((0, 1)) @ normal
    places = voxels - 2 * offset * normal[:, None, None, None]
    return ndimage.map_coordinates(image.astype(np.float64), places, order=1)


@pytest.fixture(scope="session")
def mirrored() -> Callable[[np.ndarray, CaseArrays], np.ndarray]:
    """The function that gives the other hemisphere's value at every voxel."""
    return other_side


@pytest.fixture(scope="session")
def contrast() -> Callable[[CaseArrays, str, np.ndarray], float]:
    """The function that gives the median of an image over a region against its mirror image, less one."""

    def against_mirror(case: CaseArrays, name: str, region: np.ndarray) -> float:
        image, other = case.images[name], other_side(case.images[name], case)
        used = region & (image > 0) & (other > 0)
        return float(np.median(image[used]) / np.median(other[used]) - 1)

    return against_mirror
