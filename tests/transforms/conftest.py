"""Heads for the transforms' tests: an egg drawn by hand, and phantom heads of known pose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from benchmarks.posed_heads import Head, head_with_pose
from monai_isles.transforms.mirror import Grid, Mirror


def _egg(
    angle_deg: float = 0.0,
    offset_mm: float = 0.0,
    *,
    slices: int = 2,
    size: int = 96,
    spacing_mm: tuple[float, float] = (2.0, 2.0),
) -> np.ndarray:
    """A head that is its own mirror image across the line (angle, offset): skull, brain, two ventricles, air."""
    angle = np.radians(angle_deg)
    x, y = Grid.centred((size, size), spacing_mm).points().T
    u = x * np.cos(angle) + y * np.sin(angle) - offset_mm
    v = -x * np.sin(angle) + y * np.cos(angle)
    rim = np.hypot(u / 68, v / 86)
    hu = np.where(rim < 0.93, 33.0, np.where(rim < 1, 900.0, -1000.0))
    hu[np.hypot((np.abs(u) - 12) / 8, (v - 12) / 28) < 1] = 8.0
    return np.repeat(hu.reshape(size, size, 1), slices, axis=2).astype(np.float32)


@pytest.fixture(scope="session")
def egg() -> Callable[..., np.ndarray]:
    return _egg


def _case(head: np.ndarray, spacing_mm: Sequence[float] = (2.0, 2.0, 5.0)) -> dict[str, object]:
    """The entry as it comes from disk: a CT, and four maps that are zero outside the brain."""
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    brain = (head > 20) & (head < 100)
    rng = np.random.default_rng(0)
    maps = {key: brain * rng.uniform(1, 2, head.shape) for key in ("cbf", "cbv", "mtt", "tmax")}
    images = {"ct": head, **maps}
    entry = {
        key: MetaTensor(torch.as_tensor(np.asarray(image, np.float32))[None], affine=affine.clone())
        for key, image in images.items()
    }
    return {"case": "case_7", **entry}


@pytest.fixture(scope="session")
def case() -> Callable[..., dict[str, object]]:
    return _case


@lru_cache(maxsize=64)
def _posed(seed: int, slices: int, upright: bool = False) -> Head:
    """A phantom head with a large lesion on one side, tilted up to 15 degrees and shifted up to 20 pixels."""
    rng = np.random.default_rng([seed, 77])
    tilt_deg, shift, way = rng.uniform(-15, 15), rng.uniform(0, 20), rng.uniform(0, 2 * np.pi)
    pose = {} if upright else {"tilt_deg": tilt_deg, "shift_px": (shift * np.cos(way), shift * np.sin(way))}
    return head_with_pose(seed=seed, slices=slices, lesion="left" if seed % 2 else "right", **pose)


@pytest.fixture(scope="session")
def posed() -> Callable[..., Head]:
    return _posed


def _landmark_error_px(mirror: Mirror, head: Head) -> float:
    grid = Grid.centred(head.ct.shape[:2], head.spacing_mm[:2])
    left, right = head.landmarks.swapaxes(0, 1)[..., :2]
    errors = [
        np.linalg.norm(grid.voxels(mirror(grid.origin_mm + a * grid.spacing_mm)) - b, axis=1)
        for a, b in ((left, right), (right, left))
    ]
    return float(np.mean(errors))


@pytest.fixture(scope="session")
def landmark_error_px() -> Callable[[Mirror, Head], float]:
    return _landmark_error_px
