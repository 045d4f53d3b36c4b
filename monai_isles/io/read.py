"""Read and check every image of the package, and turn it to RAS+."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import b_values
from monai_isles.io.findings import ERROR, WARNING, Finding, finding, refuse
from monai_isles.io.grid import on_one_grid, require_one_grid
from monai_isles.io.header import claimed_bytes, frame_time_s, header_findings, layout, parse_header, voxel_dtype
from monai_isles.io.orientation import native_affine, to_ras
from monai_isles.io.payload import COPY_AGAIN, SPARE_BYTES, check_file, peek, read_payload
from monai_isles.io.values import settle_values

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

MAX_BYTES = 4 * 2**30
HONEST_RATIO = 8
_STEP_HU, _STEP_RATIO = 30.0, 3.0
_LEAST_B, _STROKE_B = 500.0, 1000.0  # s/mm2


@dataclass(frozen=True)
class Image:
    """Hold one image in memory.

    Shapes: ``data`` (H, W, D), or (T, H, W, D) for a series; affines (4, 4); ``native_shape`` in stored order.
    Units: affines and ``spacing_mm`` in millimetres, ``dt_s`` in seconds (None for a single volume, and where
    the header states no time). ``unmeasured`` marks where the file held NaN or infinity, None where it held none.

    >>> image = read_image(case.images["flair"])
    >>> image.data.shape, image.spacing_mm
    ((29, 29, 20), (8.0, 8.0, 8.0))
    """

    data: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    path: Path
    sha256: str
    native_affine: np.ndarray
    native_shape: tuple[int, int, int]
    dt_s: float | None = None
    unmeasured: np.ndarray | None = None

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Return (H, W, D), whether or not there are frames."""
        return tuple(self.data.shape[-3:])

    @property
    def frames(self) -> int | None:
        """Return the number of frames, None for a single volume."""
        return len(self.data) if self.data.ndim == 4 else None

    def on_grid_of(self, other: Image) -> bool:
        """Return whether both lie on one grid."""
        return on_one_grid(other.affine, other.grid_shape, self.affine, self.grid_shape)


def read_image(
    path: str | Path,
    *,
    kind: str | None = None,
    where: str = "",
    dtype: type = np.float32,
    label_values: Sequence[int] | None = None,
    judge_time: bool = True,
) -> Image:
    """Read one NIfTI image, verified: bytes, header, values.

    Shapes: (H, W, D); a series time-first, (T, H, W, D). Axes are permuted and flipped to RAS+, never resampled.
    Units: as stored, after the header's scale factors (a slope of 0 or NaN means none).
    Args:
        kind: a modality key, ``label``, ``probability``, or None: any single volume or series, finite values only.
        where: the case, to name in errors.
        label_values: of a mask with several labels, those that mean lesion: they are read as 1, the others as 0.
        judge_time: False where the user gives the frame times of a series.
    Raises: ``E-FILE-01`` to ``09``, ``20`` bytes, ``E-DIM``, ``E-GEOM``, ``E-VAL`` the rest, ``E-LBL-01``.

    >>> read_image(case.label, kind="label").data.max()
    np.float32(1.0)
    """
    image, result = inspect_image(
        path, kind=kind, where=where, dtype=dtype, label_values=label_values, judge_time=judge_time
    )
    refuse(result)
    return cast(Image, image)  # without an image there is an error among the findings


def inspect_image(
    path: str | Path,
    *,
    kind: str | None = None,
    where: str = "",
    dtype: type = np.float32,
    label_values: Sequence[int] | None = None,
    judge_time: bool = True,
) -> tuple[Image | None, list[Finding]]:
    """Return the image and every finding about it; None when the header is not good enough to turn it to RAS+."""
    path = Path(path)
    place = f"{where}: {path}" if where else str(path)
    size = path.stat().st_size if path.is_file() else 0
    honest = size * (HONEST_RATIO if path.name.lower().endswith(".gz") else 1)
    limit = _judge_claim(path, place, max(MAX_BYTES, honest)) + SPARE_BYTES
    raw, sha256 = read_payload(path, place, limit=limit)
    header = parse_header(raw, place)
    shell = _diffusion_shell(path, header) if kind == "dwi" else None
    findings = header_findings(header, kind=kind if shell is None else None, where=place, judge_time=judge_time)
    if any(item.severity == ERROR for item in findings):
        return None, findings
    stored, spare = _voxels(raw, header, place)
    if spare:
        findings.append(finding("E-FILE-21", WARNING, where=place, found=f"{spare} of {len(raw)} bytes"))
    image = _to_ras(stored, header, path, sha256, np.dtype(dtype))
    if shell is not None:
        image = replace(image, data=_geometric_mean(image.data[shell.volumes]), dt_s=None)
        findings.append(finding("E-DIM-12", WARNING, where=place, found=shell.text))
    settled = settle_values(image.data, kind=kind, where=place, label_values=label_values)
    image = replace(image, data=settled.data, unmeasured=settled.unmeasured)
    misplaced = _frames_elsewhere(image.data, place) if image.data.ndim == 4 and kind is not None else []
    return image, [*findings, *misplaced, *settled.findings]


def read_header(path: str | Path, *, kind: str | None = None, where: str = "") -> Image:
    """Read and check the header as ``read_image`` does; the voxels are all 0, and the checksum is empty."""
    path = Path(path)
    place = f"{where}: {path}" if where else str(path)
    check_file(path, place)
    header = parse_header(peek(path, place), place)
    shell = _diffusion_shell(path, header) if kind == "dwi" else None
    refuse(header_findings(header, kind=kind if shell is None else None, where=place))
    image = _to_ras(np.broadcast_to(np.uint8(0), _full_shape(header)), header, path, "")
    return image if shell is None else replace(image, data=image.data[0], dt_s=None)


def require_same_grid(images: Mapping[str, Image], *, case: str) -> None:
    """Refuse a case whose images do not share one grid; names of the files are in the error.

    Raises: ``E-GEOM-03`` another position or orientation, ``E-GEOM-04`` another shape.
    """
    grids = {key: (image.affine, image.grid_shape) for key, image in images.items()}
    require_one_grid(grids, case=case, files={key: str(image.path) for key, image in images.items()})


def _judge_claim(path: Path, place: str, limit: int) -> int:
    """Return the bytes of the voxels according to the header, 0 if it states none."""
    check_file(path, place)
    try:
        claimed, size = claimed_bytes(parse_header(peek(path, place), place)), path.stat().st_size
    except IslesError:
        if path.name.lower().endswith(".gz"):
            return 0  # the whole file is checked next, with its checksum
        raise
    if claimed > limit:
        text = f"header claims {claimed} bytes of voxels, the file has {size} bytes; limit {limit} bytes"
        raise refused("E-FILE-07", where=place, found=text)
    return claimed


def _voxels(raw: bytes, header: Nifti1Header, place: str) -> tuple[np.ndarray, int]:
    """Return the voxels as stored, and how many bytes follow them."""
    dtype, full = cast(np.dtype, voxel_dtype(header)), _full_shape(header)  # other types are refused by the header
    start, count = int(header["vox_offset"]), math.prod(full)
    end = start + count * dtype.itemsize
    if len(raw) < end:
        result = f"{len(raw)} bytes, {end} wanted for {' x '.join(map(str, full))} voxels"
        raise refused("E-FILE-05", where=place, found=result, fix=COPY_AGAIN)
    return np.frombuffer(raw, dtype, count, start).reshape(full, order="F"), len(raw) - end


def _full_shape(header: Nifti1Header) -> tuple[int, ...]:
    shape, frames = layout(header)
    return shape if frames is None else (*shape, frames)


def _scale(stored: np.ndarray, header: Nifti1Header, dtype: np.dtype) -> np.ndarray:
    """Return the values (..., H, W, D) in C order, one plane after the other: files are in Fortran order."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    plain = not np.isfinite(slope) or slope == 0 or (slope == 1 and inter == 0)
    inter, out = inter if np.isfinite(inter) else 0.0, np.empty(stored.shape, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for *frame, level in np.ndindex(*stored.shape[:-3], stored.shape[-1]):
            place = (*frame, slice(None), slice(None), level)
            out[place] = stored[place] if plain else stored[place].astype(np.float64) * slope + inter
    return out


class _Shell(NamedTuple):
    volumes: np.ndarray
    text: str


def _diffusion_shell(path: Path, header: Nifti1Header) -> _Shell | None:
    """Return which volumes of a diffusion series are weighted by b near 1000; None without a fitting ``.bval`` file."""
    try:
        words, frames = b_values(path).read_text(encoding="ascii").replace(",", " ").split(), layout(header)[1]
        values = np.array([float(word) for word in words])
    except (OSError, ValueError):
        return None
    if frames is None or len(values) != frames or not (weighted := values[values >= _LEAST_B]).size:
        return None
    b = weighted[np.abs(weighted - _STROKE_B).argmin()]
    volumes = np.flatnonzero(np.abs(values - b) <= 0.1 * b)
    text = (
        f"{frames} volumes of b {values.min():g} to {values.max():g}: geometric mean of the {len(volumes)} of b {b:g}"
    )
    return _Shell(volumes, text)


def _geometric_mean(volumes: np.ndarray) -> np.ndarray:
    """Return the trace-weighted image of volumes (N, H, W, D) of several directions; 0 where any is 0 or below."""
    with np.errstate(divide="ignore"):
        return np.exp(np.log(np.maximum(volumes, 0)).mean(0)).astype(volumes.dtype)


def _frames_elsewhere(data: np.ndarray, where: str) -> list[Finding]:
    """Return an error if the content (T, H, W, D), in HU, shows that time is another axis than the fourth."""
    # From one frame to the next a head hardly changes; from one slice to the next its edges do. So the typical step of
    # the true time is far smaller than that of the slices that were taken for frames.
    steps = [_typical_step(data, axis) for axis in range(4)]
    near = int(np.argmin(steps))
    if near == 0 or steps[0] < max(_STEP_HU, _STEP_RATIO * steps[near]) or steps[near] == 0:
        return []
    axis = ("right to left", "front to back", "bottom to top")[near - 1]
    text = f"{len(data)} frames that differ by {steps[0]:.0f} HU, but {data.shape[near]} pictures along the axis from "
    return [finding("E-DIM-11", ERROR, where=where, found=f"{text}{axis} that differ by {steps[near]:.0f} HU")]


def _typical_step(data: np.ndarray, axis: int) -> float:
    """Return the median root mean square difference between neighbours along an axis."""
    thin = tuple(slice(None, None, 1 if n == axis else max(1, size // 48)) for n, size in enumerate(data.shape))
    part = np.moveaxis(data[thin], axis, 0).reshape(data.shape[axis], -1)
    steps = [np.sqrt(np.mean(np.square(late - early))) for early, late in zip(part, part[1:], strict=False)]
    return float(np.median(steps)) if steps else np.inf


def _to_ras(data: np.ndarray, header: Nifti1Header, path: Path, sha256: str, dtype: np.dtype | None = None) -> Image:
    """Return an image in RAS+, scaled to ``dtype`` if one is given."""
    native = native_affine(header)
    turned, affine = to_ras(data, native)
    series = data.ndim == 4
    turned = np.moveaxis(turned, -1, 0) if series else turned
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    voxels, dt_s = turned if dtype is None else _scale(turned, header, dtype), frame_time_s(header) if series else None
    return Image(voxels, affine, (x, y, z), path, sha256, native, tuple(data.shape[:3]), dt_s)
