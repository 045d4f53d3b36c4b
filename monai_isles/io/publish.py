"""Write whole files only, never over an input, and images on their original grid."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from monai_isles.errors import refused
from monai_isles.io.grid import TOLERANCE_VOX, displacement_vox
from monai_isles.io.orientation import from_ras, qform
from monai_isles.io.read import Image, read_image

if TYPE_CHECKING:
    import nibabel

PART = ".part-"
Writer = Callable[[Path], object]


def publish(path: str | Path, write: Writer, *, inputs: Iterable[str | Path] = ()) -> None:
    """Write through ``write(tmp)`` so that ``path`` holds the old file or the whole new one, never a part."""
    publish_together([(path, write)], inputs=inputs)


def publish_together(files: Sequence[tuple[str | Path, Writer]], *, inputs: Iterable[str | Path] = ()) -> None:
    """Write several files, each as ``publish`` does: all are whole before the first takes its final name."""
    plan = [(Path(path), write) for path, write in files]
    for (path, _), source in product(plan, map(Path, inputs)):
        both = path.exists() and source.exists()
        if path.samefile(source) if both else path.resolve() == source.resolve():
            raise refused("E-FILE-11", where=str(path), found=f"the same file as {source}")
    parts = {path: path.with_name(f"{PART}{uuid4().hex[:8]}-{path.name[-100:]}") for path, _ in plan}
    path = plan[0][0]
    try:
        for path, write in plan:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(parts[path])
            with parts[path].open("rb") as file:
                os.fsync(file.fileno())
        for path, part in parts.items():
            os.replace(part, path)
    except OSError as error:
        raise refused("E-FILE-10", where=str(path), found=f"{error.strerror or error}") from error
    finally:
        for part in parts.values():
            with suppress(OSError):  # a read-only file system refuses it even where there is no part
                part.unlink(missing_ok=True)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Yield the path of a folder to make beside ``path`` for unfinished files; delete at the end what is left of it."""
    aside = path.with_name(f"{PART}{uuid4().hex[:8]}-{path.name}")
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def publish_text(path: str | Path, text: str, *, inputs: Iterable[str | Path] = ()) -> None:
    """Publish UTF-8 text, lines ending in a line feed on every system.

    A byte of a file's name that is no UTF-8 is written as ``\\udcfc``, which JSON reads as that byte again.
    """
    publish(path, lambda tmp: tmp.write_bytes(text.encode("utf-8", "backslashreplace")), inputs=inputs)


def publish_csv(path: str | Path, columns: Sequence[str], lines: Iterable[Iterable[object]]) -> None:
    """Publish a table as CSV, floats in nine digits, None as an empty cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([f"{cell:.9g}" if isinstance(cell, float) else cell for cell in line] for line in lines)
    publish_text(path, text.getvalue())


def publish_json(
    path: str | Path, content: Mapping[str, object] | Sequence[object], *, inputs: Iterable[str | Path] = ()
) -> None:
    """Publish indented JSON, NumPy's numbers as plain ones; Python raises ValueError for NaN and infinity.

    >>> publish_json("settings.json", {"threshold": 0.5})
    >>> json.loads(Path("settings.json").read_text())
    {'threshold': 0.5}
    """
    plain = np.generic.item  # of a NumPy number, which Python's JSON does not know
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=plain)
    publish_text(path, text + "\n", inputs=inputs)


def publish_image(path: str | Path, data: np.ndarray, like: Image, *, dtype: type | str, description: str = "") -> None:
    """Publish a RAS+ volume on the stored grid and axis order of ``like``, verified by reading it back.

    Shapes: ``data`` (H, W, D), that of ``like``, whose file must not be replaced.
    Args:
        dtype: number type on disk; no value may change by it (float64 may be rounded to float32).
        description: at most 79 characters for the header's ``descrip``: the text that viewers show.
    Raises: ``E-DIM-07`` another shape, ``E-VAL-07`` a lossy cast, ``E-FILE-13`` read back differently, and others.
    """
    planned = planned_image(path, data, like, dtype=dtype, description=description)
    publish_together([planned], inputs=[like.path])


def planned_image(
    path: str | Path, data: np.ndarray, like: Image, *, dtype: type | str, description: str = ""
) -> tuple[Path, Writer]:
    """Check an image as ``publish_image`` does and return its name and writer, for ``publish_together``."""
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise refused("E-FILE-12", where=str(path), found=f"suffix {path.suffix or 'none'}")
    if tuple(data.shape) != like.grid_shape:
        raise refused("E-DIM-07", where=str(path), found=f"shape {tuple(data.shape)}, input {like.grid_shape}")
    cast = _cast(np.asarray(data), np.dtype(dtype), str(path))
    image = _nifti(from_ras(cast, like.native_affine), like.native_affine)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]

    def write(tmp: Path) -> None:
        raw = image.to_bytes()
        tmp.write_bytes(gzip.compress(raw, compresslevel=6, mtime=0) if path.name.endswith(".gz") else raw)
        _compare(tmp, path, cast, like)

    return path, write


def _cast(data: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    data = data.astype(np.uint8) if data.dtype == bool else data
    with np.errstate(over="ignore", invalid="ignore"):
        cast = data.astype(dtype)
        if np.issubdtype(dtype, np.floating):
            lost = ~np.isfinite(cast) | (np.abs(cast.astype(np.float64) - data) > 1e-5 * np.abs(data) + 1e-30)
        else:
            lost = cast.astype(np.float64) != data
    if lost.any():
        first = data[lost].ravel()[0]
        result = f"{int(lost.sum())} of {data.size} voxels do not fit {dtype}, for example {first:g}"
        raise refused("E-VAL-07", where=where, found=result)
    return cast


def _nifti(stored: np.ndarray, affine: np.ndarray) -> nibabel.Nifti1Image:
    import nibabel

    image = nibabel.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if displacement_vox(affine, qform(image.header), stored.shape) > TOLERANCE_VOX:
        image.set_qform(None, code=0)
    return image


def _compare(tmp: Path, path: Path, wanted: np.ndarray, like: Image) -> None:
    again = read_image(tmp, dtype=wanted.dtype.type)
    same = again.grid_shape == like.grid_shape and np.array_equal(again.data, wanted)
    if not same or displacement_vox(like.affine, again.affine, like.grid_shape) > TOLERANCE_VOX:
        result = f"shape {again.grid_shape}, sum {again.data.sum():g}; wrote {like.grid_shape}, {wanted.sum():g}"
        raise refused("E-FILE-13", where=str(path), found=result)
