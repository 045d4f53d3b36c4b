"""Brains of known pose, with a large one-sided lesion, find their mid-sagittal plane to less than half a voxel."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.errors import IslesError
from monai_isles.phantom.atlas import ORIGIN_MM, load_atlas
from monai_isles.transforms import register_mirror, registration
from monai_isles.transforms.mirror import Grid, Mirror, reflection

SHAPE, SPACING = (68, 80, 56), (3.0, 3.0, 3.0)
MIDDLE = np.array([0.0, -18.0, 10.0])
LANDMARKS = np.array([[10, 30, 10], [30, 0, 20], [40, -40, 0], [25, -80, 10], [50, -10, 10], [20, 20, 55]], float)


@lru_cache(maxsize=8)
def brain(seed: int, upright: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A stripped brain turned about all three axes, with landmarks left and right, all in mm from the centre."""
    rng = np.random.default_rng([seed, 2015])
    turns = np.radians(rng.uniform(-12, 12, 3)) * (not upright)
    shift = rng.uniform(-10, 10, 3) * (not upright)
    turn = np.eye(3)
    for axis, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
        one = np.eye(3)
        one[[i, i, j, j], [i, j, i, j]] = (
            np.cos(turns[axis]),
            -np.sin(turns[axis]),
            np.sin(turns[axis]),
            np.cos(turns[axis]),
        )
        turn = one @ turn
    atlas, points = load_atlas(), Grid.centred(SHAPE, SPACING).points()
    mni = (points - shift) @ turn + MIDDLE
    tissue = (0.6 * atlas.gm + atlas.wm).astype(np.float32) / 255 * 100
    values = ndimage.map_coordinates(tissue, (mni - ORIGIN_MM).T, order=1)
    centre = np.array([rng.choice([-1, 1]) * 35, rng.uniform(-40, 20), rng.uniform(0, 40)])
    lesion = np.linalg.norm((mni - centre) / rng.uniform(12, 25, 3), axis=1) < 1
    values = (values + lesion * 80) * (1 + 0.2 * points @ rng.normal(size=3) / 150)
    inside = ndimage.map_coordinates(tissue, (mni - ORIGIN_MM).T, order=1) > 3
    noisy = np.clip(values + rng.normal(0, 4, len(values)), 1, None) * inside
    left, right = ((LANDMARKS * side - MIDDLE) @ turn.T + shift for side in ((1, 1, 1), (-1, 1, 1)))
    return noisy.reshape(SHAPE).astype(np.float32), left, right


def error_vox(mirror: Mirror, left: np.ndarray, right: np.ndarray) -> float:
    both = [np.linalg.norm((mirror(a) - b) / SPACING, axis=1) for a, b in ((left, right), (right, left))]
    return float(np.mean(both))


@pytest.mark.parametrize(("seed", "method"), [*((seed, "rigid") for seed in range(4)), (0, "affine"), (1, "affine")])
def test_a_tilted_brain_finds_its_counterparts(seed: int, method: str) -> None:
    volume, left, right = brain(seed)
    found = register_mirror(volume, SPACING, method=method, window=None, where=f"case_{seed}")
    assert error_vox(found.mirror, left, right) < 0.5 < error_vox(reflection((0, 0), 0), left, right)
    assert found.method == method and found.residual_mm < found.flip_residual_mm
    assert found.overlap > 0.97 and found.similarity > 0.5


@pytest.mark.long
def test_itk_finds_them_too(monkeypatch) -> None:
    volume, left, right = brain(0)
    monkeypatch.setattr(registration.Level, "residual_mm", lambda *a: 1.0)  # no fit is worse than another
    monkeypatch.setitem(registration.SETTINGS, 3, replace(registration.SETTINGS[3], chance=-1.0))
    found = register_mirror(volume, SPACING, method="itk", window=None)
    assert found.method == "itk" and error_vox(found.mirror, left, right) < 0.7


def test_what_itk_makes_worse_is_not_kept(monkeypatch, caplog) -> None:
    monkeypatch.setattr(registration, "itk_mirror", lambda *a: reflection((-20, 3), 30))
    with caplog.at_level("INFO"):
        found = register_mirror(brain(0)[0], SPACING, method="itk", window=None, where="case_3")
    assert found.method == "rigid" and "case_3: itk moved" in caplog.text


def test_a_head_that_is_its_own_flip_keeps_the_plain_flip() -> None:
    half = brain(1, upright=True)[0]
    volume = np.maximum(half, half[::-1])
    found = register_mirror(volume, SPACING, window=None)
    np.testing.assert_allclose(found.mirror(LANDMARKS), LANDMARKS * (-1, 1, 1), atol=0.1)


def test_voxels_of_unequal_sides_are_honoured() -> None:
    volume, left, right = brain(2)
    thick = volume[:, :, ::2]
    shift = np.array([0, 0, 1.5])  # every second slice kept: the centre moves down by half a slice
    found = register_mirror(thick, (3.0, 3.0, 6.0), window=None)
    assert np.linalg.norm(found.mirror(left + shift) - (right + shift), axis=1).mean() < 2.0


def broken(kind: str) -> np.ndarray:
    volume = brain(0)[0]
    grid = Grid.centred(SHAPE, SPACING)
    radius = np.linalg.norm(grid.points(), axis=1).reshape(SHAPE)
    side = grid.points()[:, 0].reshape(SHAPE)
    return {
        "empty": np.zeros_like(volume),
        "ball": np.where(radius < 60, 100.0 - radius, 0.0),
        "half": np.where(side > 5, 0.0, volume),
        "slab": np.where(np.arange(SHAPE[2]) < 26, 0.0, np.where(np.arange(SHAPE[2]) > 33, 0.0, volume)),
        "nan": np.where(volume > 150, np.nan, volume),
        "flat": volume[..., 0],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("empty", "E-REG-01", "no head"),
        ("ball", "E-REG-20", "no mid-sagittal plane"),
        ("half", "E-REG-21", "does not match its mirror image"),
        ("slab", "E-REG-22", "the slab is too thin"),
        ("nan", "E-REG-06", "not numbers"),
        ("flat", "E-REG-05", "not a volume"),
    ],
)
def test_a_volume_that_cannot_be_registered_is_reported(kind: str, code: str, words: str) -> None:
    with pytest.raises(IslesError, match=rf"{code}.*{words}.*\n.*case_5.*\n  found .*\d.*\n  fix "):
        register_mirror(broken(kind), SPACING, window=None, where="case_5")
