"""Simulated CT scans on a coarse grid, so that a training or a prediction of many cases takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_isles.io import Image
from monai_isles.io.publish import publish_image
from monai_isles.phantom import make_case

EVERY = 4
KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")


def tiny_cases(folder: Path, count: int, *, seed: int = 5) -> Path:
    """Write ``count`` scans of 64 x 64 x 2 voxels, every fourth of the phantom's, one folder a case; return the folder.

    Three scans are simulated; the others are these, brighter by a few percent each time, and of other subjects.
    """
    scans = [make_case(number, seed=seed, max_slices=2) for number in (1, 2, 3)]
    for n in range(count):
        scan, gain = scans[n % 3], np.float32(1 + 0.01 * (n // 3))
        spacing = (scan.spacing_mm[0] * EVERY, scan.spacing_mm[1] * EVERY, scan.spacing_mm[2])
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = [-100.0 - n, -100.0, 10.0 * n]
        case = folder / f"case_{n + 1:02d}"
        for key in KEYS:
            data = scan.images[key][::EVERY, ::EVERY].astype(np.float32)
            publish(case / f"{key}.nii.gz", data if key == "ct" else data * gain, affine, spacing, "float32")
        publish(case / "lesion.nii.gz", scan.label[::EVERY, ::EVERY].astype(np.uint8), affine, spacing, "uint8")
    return folder


def publish(path: Path, data: np.ndarray, affine: np.ndarray, spacing: tuple[float, ...], dtype: str) -> None:
    """Write one image on a grid of its own."""
    like = Image(data, affine, spacing, path.with_name("none"), "", affine, data.shape)
    publish_image(path, data, like, dtype=dtype)
