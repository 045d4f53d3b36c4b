"""Small heads of known pose, and folders of masks and maps on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

Volumes = dict[str, np.ndarray]
SPACING = (2.0, 2.0, 6.0)
SHAPE = (96, 96, 2)


def save(path: Path, data: np.ndarray, *, spacing: tuple[float, ...] = SPACING, flip: bool = False) -> Path:
    """Write a volume as NIfTI, optionally with its first axis stored from right to left."""
    affine = np.diag([*spacing, 1.0])
    if flip:
        data, affine = (
            data[::-1],
            affine @ np.array([[-1, 0, 0, data.shape[0] - 1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = data.astype(np.uint8) if data.dtype == bool else data.astype(np.float32)
    image = nibabel.Nifti1Image(np.ascontiguousarray(stored), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def head(angle_deg: float = 0.0, offset_vox: float = 0.0) -> tuple[Volumes, np.ndarray]:
    """Return CT, maps and label of a head with a lesion on its left, and the true left half.

    Healthy CBF is 50; on the left a core of CBF 10 lies in a penumbra of CBF 25 and Tmax 9 s.
    """
    i, j, _ = np.indices(SHAPE)
    x, y = (i - (SHAPE[0] - 1) / 2), (j - (SHAPE[1] - 1) / 2)
    angle = np.radians(angle_deg)
    across = x * np.cos(angle) + y * np.sin(angle) - offset_vox
    along = -x * np.sin(angle) + y * np.cos(angle)
    outer, inner = (across / 34) ** 2 + (along / 42) ** 2, (across / 31) ** 2 + (along / 39) ** 2
    brain, skull = inner < 1, (outer < 1) & (inner >= 1)
    fluid = (np.abs(across) < 4) & (along > -10) & (along < 8)
    nose = (np.abs(across) < 5) & (along > 40) & (along < 46)
    ct = (
        np.where(brain, 35.0, 0.0)
        + np.where(skull, 900.0, 0.0)
        - np.where(fluid, 30.0, 0.0)
        + np.where(nose, 60.0, 0.0)
    )
    penumbra = brain & ((across + 16) ** 2 + along**2 < 12**2)
    core = brain & ((across + 16) ** 2 + along**2 < 7**2)
    cbf = np.where(brain, 50.0, 0.0)
    cbf[penumbra], cbf[core] = 25.0, 10.0
    tmax = np.where(brain, 2.0, 0.0)
    tmax[penumbra] = 9.0
    cbv, mtt = np.where(brain, 4.0, 0.0), np.where(brain, 5.0, 0.0)
    return {"ct": ct, "cbf": cbf, "cbv": cbv, "mtt": mtt, "tmax": tmax, "label": core}, across < 0


@pytest.fixture
def make_head() -> Callable[..., tuple[Volumes, np.ndarray]]:
    """Return ``head``."""
    return head


@pytest.fixture
def save_volume() -> Callable[..., Path]:
    """Return ``save``."""
    return save


@pytest.fixture
def perfusion_entry(tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Return a function that writes a head and gives its flat dictionary."""

    def write(
        name: str = "case_1", *, angle_deg: float = 0.0, without: tuple[str, ...] = (), **changed: np.ndarray
    ) -> dict:
        volumes = {**head(angle_deg)[0], **changed}
        files = {k: str(save(tmp_path / name / f"{k}.nii.gz", v)) for k, v in volumes.items() if k not in without}
        return {"case": name, "subject": name, **files}

    return write


@pytest.fixture
def mask_folders(tmp_path: Path) -> tuple[Path, Path, Volumes]:
    """Return prediction and reference folders of five cases and the reference masks.

    case_1 right, case_2 half found, case_3 missed, case_4 false alarm, case_5 rightly empty.
    """

    def box(stop: int) -> np.ndarray:
        mask = np.zeros((12, 10, 2), bool)
        mask[2:stop, 2:6, 0] = True
        return mask

    empty = np.zeros((12, 10, 2), bool)
    ref = {"case_1": box(6), "case_2": box(10), "case_3": box(4), "case_4": empty, "case_5": empty}
    pred = {"case_1": box(6), "case_2": box(6), "case_3": empty, "case_4": box(4), "case_5": empty}
    for name in ref:
        save(tmp_path / "ref" / f"{name}.nii.gz", ref[name])
        save(tmp_path / "pred" / name / "lesion.nii.gz", pred[name])
    return tmp_path / "pred", tmp_path / "ref", ref
