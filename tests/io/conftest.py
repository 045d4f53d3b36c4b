"""Tiny NIfTI files, whole or with patched header bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

AFFINE = np.array([[-1.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 5.0, 30], [0, 0, 0, 1]])


@pytest.fixture
def volume() -> np.ndarray:
    """A ramp, 4 x 3 x 2, every voxel different and none 0."""
    return np.arange(1, 25, dtype=np.float32).reshape(4, 3, 2)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an image; ``patch`` maps header fields to values, or byte offsets to bytes."""

    def _write(
        data: np.ndarray,
        name: str = "a.nii",
        *,
        affine: np.ndarray = AFFINE,
        patch: dict | None = None,
        codes: tuple = (1, 1),
    ) -> Path:
        image = nibabel.Nifti1Image(data, affine)
        image.set_sform(affine, codes[0])
        image.set_qform(affine, codes[1])
        image.header.set_xyzt_units("mm", "sec")
        raw = bytearray(image.to_bytes())
        header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
        for field, value in (patch or {}).items():
            header[field] = value
        raw[:348] = header.binaryblock
        path = tmp_path / name
        path.write_bytes(gzip.compress(bytes(raw), mtime=0) if name.endswith(".gz") else bytes(raw))
        return path

    return _write
