"""A mirror in three dimensions: reflections worked out by hand, and the plane one tilts the head by."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.transforms.mirror import Grid, mirrored_volume, volume_reflection

SPACING = (2.0, 1.0, 3.0)


def test_no_tilt_is_the_plain_flip_of_the_first_axis() -> None:
    volume = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    np.testing.assert_array_equal(mirrored_volume(volume, volume_reflection(0, 0, 0), SPACING), volume[::-1])


def test_an_offset_of_one_voxel_moves_the_image_by_two() -> None:
    volume = np.zeros((11, 5, 5), np.float32)
    volume[3, 2, 1] = 1
    seen = mirrored_volume(volume, volume_reflection(0, 0, 2.0), SPACING)  # the plane lies at voxel 6
    assert tuple(np.argwhere(seen)[0]) == (9, 2, 1) and seen.sum() == 1


@pytest.mark.parametrize("tilt", [(0, 0, 0), (12, -7, 5.5), (-25, 20, -3)])
def test_a_mirror_seen_twice_shows_the_point_itself_and_its_tilt_is_read_back(tilt: tuple[float, ...]) -> None:
    mirror, points = volume_reflection(*tilt), np.random.default_rng(1).normal(size=(20, 3))
    np.testing.assert_allclose(mirror(mirror(points)), points, atol=1e-12)
    np.testing.assert_allclose((mirror.angle_deg, mirror.roll_deg, mirror.offset_mm), tilt, atol=1e-9)


def test_a_point_on_the_plane_stays_and_one_beside_it_crosses_over() -> None:
    mirror = volume_reflection(90 - 1e-9, 0, 4.0)  # a normal that points to the front
    np.testing.assert_allclose(mirror(np.array([3.0, 4.0, -2.0])), [3, 4, -2], atol=1e-6)
    np.testing.assert_allclose(mirror(np.array([3.0, 9.0, -2.0])), [3, -1, -2], atol=1e-6)


def test_images_are_read_trilinearly_with_zero_outside() -> None:
    volume, mirror = np.random.default_rng(2).uniform(1, 2, (10, 9, 8)).astype(np.float32), volume_reflection(8, 5, 1.3)
    grid = Grid.centred(volume.shape, SPACING)
    voxels = grid.voxels(mirror(grid.points()))
    want = ndimage.map_coordinates(np.pad(volume, 1), voxels.T + 1, order=1).reshape(volume.shape)
    np.testing.assert_allclose(mirrored_volume(volume, mirror, SPACING), want, atol=1e-5)


def test_the_zero_background_stays_exactly_zero_far_from_the_head() -> None:
    volume = np.zeros((30, 30, 30), np.float32)
    volume[10:20, 10:20, 10:20] = 7
    seen = mirrored_volume(volume, volume_reflection(10, 10, 1), (1.0, 1.0, 1.0))
    assert not seen[:3].any() and not seen[:, :, -3:].any() and seen.max() == pytest.approx(7)
