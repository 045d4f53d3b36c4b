from __future__ import annotations

import numpy as np
import pytest

from monai_isles.transforms.alignment import Level, coarse_mirrors, refine
from monai_isles.transforms.mirror import Grid, reflection

PLANE = Grid.centred((96, 96), (2.0, 2.0))


def tissue(head: np.ndarray) -> np.ndarray:
    return np.clip(head / 60, 0, 1)


@pytest.mark.parametrize(("angle_deg", "offset_mm"), [(0, 0), (15, 12), (-15, -18), (28, 5)])
def test_the_coarse_start_is_within_a_cell_and_a_step_of_the_angle(egg, angle_deg: float, offset_mm: float) -> None:
    mirrors, contrast = coarse_mirrors(tissue(egg(angle_deg, offset_mm))[..., 0], PLANE)
    assert mirrors[0].angle_deg == pytest.approx(angle_deg, abs=2.01)
    assert mirrors[0].offset_mm == pytest.approx(offset_mm, abs=3.0)
    assert contrast > 0.02


def test_a_disc_has_no_contrast_between_angles() -> None:
    disc = (np.hypot(*PLANE.points().T) < 70).astype(np.float32).reshape(96, 96)
    assert coarse_mirrors(disc, PLANE)[1] < 0.005


@pytest.mark.parametrize("degrees", ["rigid", "affine"])
def test_the_refinement_finds_the_line_that_the_head_was_drawn_around(egg, degrees: str) -> None:
    level = Level.of(tissue(egg(6.3, 4.1)), PLANE, sigma_mm=3.0)
    found = refine(level, reflection(4, 7), degrees=degrees, reach_mm=8.0)
    wanted = reflection(6.3, 4.1)
    assert np.linalg.norm(found(level.points) - wanted(level.points), axis=1).mean() < 0.5
    assert level.residual_mm(found) < level.residual_mm(reflection(4, 7))


def test_a_lesion_does_not_pull_the_mirror(egg) -> None:
    head = egg(5, 3)
    x, y = PLANE.points().T.reshape(2, 96, 96)
    head[np.hypot((x - 40) / 18, (y + 10) / 30) < 1] -= 14
    level = Level.of(tissue(head), PLANE, sigma_mm=1.5)
    found = refine(level, reflection(4, 2), degrees="rigid", reach_mm=3.0)
    assert found.angle_deg == pytest.approx(5, abs=0.3) and found.offset_mm == pytest.approx(3, abs=0.3)


def test_a_mirror_that_leaves_the_image_has_an_infinite_residual(egg) -> None:
    assert Level.of(tissue(egg()), PLANE, sigma_mm=2.0).residual_mm(reflection(0, 500)) == np.inf
