"""Series as a scanner sends them: a simulated scan of two slices, and tiny ones to be damaged."""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from monai_isles.phantom import make_case
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dicom_writer import write_dicom


@lru_cache(maxsize=1)
def scan() -> CaseArrays:
    """A simulated scan of two slices, with its contrast series."""
    return make_case(1, seed=2018, max_slices=2)


@lru_cache(maxsize=1)
def _dicom() -> Path:
    return write_dicom(scan(), Path(tempfile.mkdtemp(prefix="monai-isles-scan-")) / "dicom")


def write_scan(folder: Path, *, nifti: str | None = None) -> Path:
    """Write the contrast series of ``scan`` as DICOM into ``folder``, or as one NIfTI file of that name in it."""
    if nifti is None:
        return shutil.copytree(_dicom() / "ctp", folder)
    case = scan()
    image = nibabel.Nifti1Image(np.moveaxis(case.ctp, 0, -1).copy(), np.diag([*case.spacing_mm, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = case.dt_s
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, folder / nifti)
    return folder / nifti


def tiny(folder: Path, *, frames: int = 4, depth: int = 4, number: int = 3) -> Tiny:
    """Write a still CT (one frame) or a contrast series of 16 x 12 voxels a slice, 5 mm and 1.5 s apart."""
    shape = (frames, 16, 12, depth)
    series = (np.arange(np.prod(shape)) % 900).astype(np.int16).reshape(shape) - 100
    images = {"ct": series[0]}
    case = CaseArrays(images, series, np.zeros(shape[1:], bool), (0.9, 0.8, 5.0), 1.5, {"level_mm": 12.5 + number})
    home = Path(tempfile.mkdtemp(prefix="monai-isles-tiny-"))
    try:
        write_dicom(case, home / "all")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((home / "all" / ("ctp" if frames > 1 else "ct")).iterdir()):
            header = pydicom.dcmread(path)
            header.SeriesNumber = number
            header.save_as(folder / f"{number}-{path.name}", enforce_file_format=True)
    finally:
        shutil.rmtree(home)
    return Tiny(folder, frames, depth, number)


class Tiny:
    """A tiny series on disk: ``file(k, t)`` is its slice k at time t."""

    def __init__(self, folder: Path, frames: int, depth: int, number: int) -> None:
        self.folder, self.frames, self.depth, self.number = folder, frames, depth, number

    def file(self, k: int, t: int = 0) -> Path:
        return self.folder / f"{self.number}-IM{t * self.depth + k + 1:05d}"

    def slice_files(self, k: int) -> list[Path]:
        return [self.file(k, t) for t in range(self.frames)]

    def change(self, *paths: Path, **values: object) -> None:
        """Write files again with other values."""
        for path in paths:
            header = pydicom.dcmread(path)
            for key, value in values.items():
                setattr(header, key, value)
            header.save_as(path, enforce_file_format=True)
