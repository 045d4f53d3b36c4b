"""One way to a perfusion series: a 4D NIfTI file or a DICOM folder in, frames with their times out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_isles.errors import IslesError
from monai_isles.io.read import Image, read_header, read_image

NIFTI_ENDS = (".nii", ".nii.gz")


@dataclass(frozen=True)
class SeriesInput:
    """Hold a series as it was read.

    Shapes: ``array`` (T, H, W, D) RAS+, ``times_s`` (T,).  Units: HU, s.  ``like`` is the grid that maps are written
    on, ``kind`` is ``nifti`` or ``dicom``, ``timed`` says that the file itself told the frame times.
    """

    array: np.ndarray
    times_s: np.ndarray
    like: Image
    kind: str
    timed: bool

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the voxel size."""
        return self.like.spacing_mm


def read_perfusion_series(path: str | Path, *, dt_s: float | None = None) -> SeriesInput:
    """Read a CT perfusion series: a 4D NIfTI file, or a folder with one dynamic DICOM series.

    Args:
        dt_s: seconds between frames, instead of what the file says; NIfTI only.

    Raises:
        IslesError: ``E-PERF-09`` not a series, ``E-PERF-10`` an impossible step, those of ``read_image`` and of
            ``monai_isles.dicom.read.read_series``.

    Source: ours; ``tests/data/test_series.py``.
    """
    path = Path(path)
    if dt_s is not None and not 0 < dt_s <= 15:
        raise IslesError(
            "E-PERF-10",
            "frames cannot be that far apart",
            where="--dt",
            found=f"{dt_s:g} s",
            fix="give seconds between frames, above 0 and at most 15",
        )
    return _dicom(path) if path.is_dir() else _nifti(path, dt_s)


def _nifti(path: Path, dt_s: float | None) -> SeriesInput:
    if path.name.endswith(NIFTI_ENDS) and path.is_file():
        header = read_header(path)
        if header.frames is None:
            raise _single(path, header.shape)
    image = read_image(path, kind="ctp")
    step = dt_s or image.dt_s or 1.0
    like = Image(image.data[0], *(getattr(image, name) for name in _GRID))
    return SeriesInput(image.data, np.arange(len(image.data)) * step, like, "nifti", timed=_is_timed(path))


def _dicom(path: Path) -> SeriesInput:
    from monai_isles.dicom.read import read_series

    series = read_series(path, kind="ctp")
    spacing = tuple(float(s) for s in np.linalg.norm(series.affine[:3, :3], axis=0))
    like = Image(series.array[0], series.affine, spacing, path, "", series.affine, series.array.shape[1:])
    return SeriesInput(series.array, np.asarray(series.times_s, float), like, "dicom", timed=True)


_GRID = ("affine", "spacing_mm", "path", "sha256", "native_affine", "native_shape")


def _is_timed(path: Path) -> bool:
    import nibabel

    pixdim = np.asarray(nibabel.load(path).header["pixdim"], float)
    return bool(np.isfinite(pixdim[4]) and pixdim[4] > 0)


def _single(path: Path, shape: tuple[int, ...]) -> IslesError:
    return IslesError(
        "E-PERF-09",
        "one volume is not a perfusion series",
        where=str(path),
        found=f"{' x '.join(str(n) for n in shape)} voxels, no time",
        fix="give the time-resolved series (4D NIfTI, or the DICOM folder of the dynamic scan)",
    )
