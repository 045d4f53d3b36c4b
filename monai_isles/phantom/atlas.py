"""Load the tissue maps of MNI152 shipped with nilearn, and draw vessels into them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy import ndimage

from monai_isles.errors import refused


class SmoothField:
    """Draw one Gaussian field with zero mean and unit spread, to be sampled at points of the head.

    Units: points and ``scale_mm`` (standard deviation of the smoothing) in mm. With ``symmetry`` +1 the field is even
    across x = 0, with -1 odd.
    """

    def __init__(self, rng: np.random.Generator, scale_mm: float, *, symmetry: int = 0) -> None:
        self.step_mm = max(scale_mm / 1.5, 2.0)
        shape = tuple(int(n) for n in np.ceil(np.array([220.0, 250.0, 215.0], np.float32) / self.step_mm) + 1)
        noise = rng.standard_normal(shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, scale_mm / self.step_mm, mode="wrap", output=np.float32)
        if symmetry:
            noise = noise + symmetry * noise[::-1]  # even or odd across x = 0
        self.values = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
        self.low_mm = np.array([-self.step_mm * (shape[0] - 1) / 2, -140.0, -95.0], dtype=np.float32)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the field (n,) float32 at ``points_mm`` (n, 3)."""
        index = ((points_mm - self.low_mm) / self.step_mm).T
        return ndimage.map_coordinates(self.values, index, order=1, mode="nearest", output=np.float32)


ORIGIN_MM = np.array([-98.0, -134.0, -72.0], dtype=np.float32)
TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("tables.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Atlas:
    """Hold the maps of one average head.

    Shapes: ``gm``, ``wm``, ``ventricle``, ``artery``, ``vein`` are (197, 233, 189) uint8, 255 is a whole voxel, 1 mm;
    ``depth`` is (99, 117, 95) float32 on every second voxel. Voxel 0 lies at ``ORIGIN_MM`` (MNI, RAS).
    Units: ``depth`` in mm, positive inside the brain's hull.
    """

    gm: np.ndarray
    wm: np.ndarray
    ventricle: np.ndarray
    artery: np.ndarray
    vein: np.ndarray
    depth: np.ndarray


@lru_cache(maxsize=1)
def load_atlas(package: str = "nilearn") -> Atlas:
    """Read the grey, white and T1 maps of MNI152 from the data folder of ``package`` and derive the rest.

    Source: MNI ICBM152 2009a symmetric, as shipped with nilearn (read as files, never imported).
    """
    folder = _data_folder(package)
    gm, wm, t1 = (
        _read(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz") for name in ("gm", "wm", "t1")
    )
    depth = _hull_depth(t1 > 0)
    deep = ndimage.zoom(depth, 2, order=1)[: gm.shape[0], : gm.shape[1], : gm.shape[2]]
    deep = np.pad(deep, [(0, n - m) for n, m in zip(gm.shape, deep.shape, strict=True)], mode="edge")
    fluid = 255.0 - np.minimum(gm.astype(np.float32) + wm, 255.0)
    near_midline = np.abs(np.arange(gm.shape[0]) + ORIGIN_MM[0])[:, None, None] < 45
    # Fluid far from the hull, near the midline, is ventricle.
    ventricle = np.where((deep > 22) & near_midline & (t1 > 0), fluid, 0.0)
    ventricle = ndimage.gaussian_filter(ventricle, 1.2, output=np.float32)
    return Atlas(
        gm=gm,
        wm=wm,
        ventricle=ventricle.astype(np.uint8),
        artery=_tubes(TABLES["artery"].values(), gm.shape),
        vein=np.maximum(_tubes(TABLES["vein"].values(), gm.shape), _sagittal_sinus(deep)),
        depth=depth,
    )


def depth_at(atlas_mm: np.ndarray) -> np.ndarray:
    """Return how deep (n,) points (MNI mm) lie below the brain's hull."""
    place = ((atlas_mm - ORIGIN_MM) / 2).T
    return ndimage.map_coordinates(load_atlas().depth, place, order=1, mode="nearest", output=np.float32)


def _data_folder(package: str) -> Path:
    spec = find_spec(package)
    folder = Path(spec.origin).parent / "datasets" / "data" if spec and spec.origin else Path(package)
    if not (folder / "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz").is_file():
        raise refused("E-PHAN-01", where=f"package {package}", found=f"no MNI152 maps under {folder}")
    return folder


def _read(path: Path) -> np.ndarray:
    import nibabel

    return np.asanyarray(cast(nibabel.Nifti1Image, nibabel.load(path)).dataobj)


def _hull_depth(brain: np.ndarray) -> np.ndarray:
    coarse = np.pad(brain[::2, ::2, ::2], 12, mode="edge")
    hull = ndimage.binary_closing(coarse, iterations=5)  # close the sulci: depth counts from the brain's hull
    hull = ndimage.binary_fill_holes(hull)
    depth = 2.0 * (ndimage.distance_transform_edt(hull) - ndimage.distance_transform_edt(~hull))
    return ndimage.gaussian_filter(depth, 1.0, output=np.float32)[12:-12, 12:-12, 12:-12].astype(np.float32)


def _sagittal_sinus(depth: np.ndarray) -> np.ndarray:
    x, y, z = (np.arange(n, dtype=np.float32) + o for n, o in zip(depth.shape, ORIGIN_MM, strict=True))
    width = np.where(y < 20, 4.2, 2.4)[None, :, None]
    above = (z[None, None, :] > 5) | (y[None, :, None] < -60)
    across = np.clip(width - np.abs(x)[:, None, None] + 0.5, 0, 1)  # a band along the midline, just outside the hull
    through = np.clip(3.0 - np.abs(depth + 2.0), 0, 1)
    return (255 * across * through * above).astype(np.uint8)


def _tubes(vessels: Iterable[tuple[float, list[list[float]]]], shape: tuple[int, ...]) -> np.ndarray:
    """Draw vessels of a radius and a line in mm, and their mirror images."""
    volume = np.zeros(shape, np.uint8)
    for radius, line in vessels:
        for start, stop in zip(line[:-1], line[1:], strict=True):
            for side in (1.0, -1.0):
                ends = np.array([start, stop], np.float32) * np.array([side, 1, 1], np.float32)
                _draw_segment(volume, ends[0] - ORIGIN_MM, ends[1] - ORIGIN_MM, radius)
    return volume


def _draw_segment(volume: np.ndarray, start: np.ndarray, stop: np.ndarray, radius: float) -> None:
    low = np.maximum(np.floor(np.minimum(start, stop) - radius - 1), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, stop) + radius + 2), volume.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    points = np.moveaxis(np.mgrid[box], 0, -1).astype(np.float32, order="C")
    along = stop - start
    t = np.clip((points - start) @ along / float(along @ along), 0, 1)  # nearest point of the segment
    distance = np.linalg.norm(points - start - t[..., None] * along, axis=-1)
    volume[box] = np.maximum(volume[box], (255 * np.clip(radius + 0.5 - distance, 0, 1)).astype(np.uint8))
