"""Tiny folders in every layout: heads of 24 x 24 voxels in slabs of two slices, MRI of 6 x 5 x 4 voxels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

KEYS = {
    "ct": "CT",
    "cbf": "CT_CBF",
    "cbv": "CT_CBV",
    "mtt": "CT_MTT",
    "tmax": "CT_Tmax",
    "ctp": "CT_4DPWI",
    "label": "OT",
}


def path_of(folder: Path, case: int, key: str, section: str = "TRAINING") -> Path:
    number = {k: n for n, k in enumerate(KEYS)}[key] + 10 * case
    name = f"SMIR.Brain.XX.O.{KEYS[key]}.{number}"
    return folder / section / f"case_{case}" / name / f"{name}.nii"


def save(path: Path, data: np.ndarray, *, z_mm: float = 0.0, x_mm: float = 0.0, spacing: float = 0.9) -> None:
    affine = np.diag([-spacing, -spacing, 10.0, 1.0])
    affine[:3, 3] = [10.0 + x_mm, 10.0, z_mm]
    image = nibabel.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)


def head(person: int) -> np.ndarray:
    """A skull ring with tissue inside; its shape and inner texture are the person's."""
    rng = np.random.default_rng(person)
    x, y = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24), indexing="ij")
    angle = np.arctan2(y, x) + rng.uniform(0, np.pi)
    radius = np.hypot(x, y) / (0.72 + 0.16 * np.cos(2 * angle) + 0.08 * np.cos(3 * angle))
    plane = np.where(radius < 1, 30 + 8 * np.sin(6 * x + person), np.where(radius < 1.2, 800, -1000))
    return np.repeat(plane[..., None], 2, axis=2).astype(np.float32) + rng.normal(0, 1, (24, 24, 2)).astype(np.float32)


def make_case(
    folder: Path,
    case: int,
    *,
    person: int,
    z_mm: float = 0.0,
    section: str = "TRAINING",
    lesion: int = 4,
    spacing: float = 0.9,
    frames: int = 3,
    leave_out: tuple[str, ...] = (),
) -> None:
    ct = head(person)
    brain = ((ct > 0) & (ct < 100)).astype(np.float32)
    mask = np.zeros(ct.shape, np.uint8)
    mask[8 : 8 + lesion, 12, 0] = 1
    series = np.stack([ct + t for t in range(frames)], axis=-1)
    images = {
        "ct": ct,
        "cbf": 50 * brain,
        "cbv": 4 * brain,
        "mtt": 5 * brain,
        "tmax": 2 * brain,
        "ctp": series,
        "label": mask,
    }
    for key in set(images) - set(leave_out) - ({"label"} if section == "TESTING" else set()):
        save(path_of(folder, case, key, section), images[key], z_mm=z_mm, spacing=spacing)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six cases of four persons: 1+2 and 3+4 are two slabs of one head each; one test case."""
    folder = tmp_path / "data"
    for case, person, z_mm in ((1, 1, 0.0), (2, 1, 25.0), (3, 2, 0.0), (4, 2, 25.0), (5, 3, 0.0), (6, 4, 0.0)):
        make_case(folder, case, person=person, z_mm=z_mm, lesion=case)
    make_case(folder, 1, person=9, section="TESTING")
    return folder


MR_NAMES = {
    "t1": "T1", "t2": "T2", "flair": "Flair", "dwi": "DWI", "t1c": "T1c", "cbf": "CBF", "cbv": "CBV", "ttp": "TTP",
    "tmax": "Tmax",
}  # fmt: skip
SISS = ("t1", "t2", "flair", "dwi")
SPES = ("t1c", "t2", "dwi", "cbf", "cbv", "ttp", "tmax")


def make_mri(case: Path, keys: tuple[str, ...], *, label: str | None = None, seed: int = 0, lesion: int = 3) -> None:
    """Write one case folder as ISLES 2015 has it; a SPES mask holds ``lesion`` voxels of 1 and one voxel of 2."""
    rng = np.random.default_rng(seed)
    for number, key in enumerate(keys):
        name = f"VSD.Brain.XX.O.MR_{MR_NAMES[key]}.{70000 + 100 * seed + number}"
        save(case / name / f"{name}.nii", rng.random((6, 5, 4), dtype=np.float32) + 1)
    if label is not None:
        mask = np.zeros((6, 5, 4), np.uint8)
        mask[0, 0, 0] = 2 if "tmax" in keys else 0
        mask[1 : 1 + lesion, 1, 1] = 1
        name = f"VSD.Brain{label}.XX.O.OT.{70099 + 100 * seed}"
        save(case / name / f"{name}.nii", mask)


@pytest.fixture
def siss(tmp_path: Path) -> Path:
    """Five labelled cases and one without a mask; both spellings of the mask's folder."""
    for n in range(1, 6):
        label = "_3more" if n % 2 else ""
        make_mri(tmp_path / "siss" / "TRAINING" / str(n), SISS, label=label, seed=n, lesion=min(n, 5))
    make_mri(tmp_path / "siss" / "TESTING" / "1", SISS, seed=9)
    return tmp_path / "siss"


@pytest.fixture
def spes(tmp_path: Path) -> Path:
    """Four labelled cases with 0, 1, 2 in one mask, and one without a mask."""
    for n in (1, 2, 3, 10):
        make_mri(tmp_path / "spes" / "TRAINING" / str(n), SPES, label="_2more", seed=n)
    make_mri(tmp_path / "spes" / "TESTING" / "1", SPES, seed=9)
    return tmp_path / "spes"


@pytest.fixture
def tools() -> dict[str, Callable]:
    """The functions above, for tests that need another folder."""
    return {"make_case": make_case, "path_of": path_of, "save": save, "head": head, "make_mri": make_mri}
