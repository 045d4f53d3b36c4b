"""A mirror in plane and in space: reflections worked out by hand, and the line or plane one tilts the head by."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.transforms.mirror import Grid, apply_mirror, reflection, sample

SPACING = (2.0, 1.0, 3.0)


def test_the_plain_reflection_is_the_flip_of_the_first_axis() -> None:
    volume = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(apply_mirror(volume, reflection(0, 0), (0.9, 1.3)), volume[::-1], atol=1e-5)


def test_a_mirror_seen_twice_is_the_original() -> None:
    mirror = reflection(11, -6)
    points = np.random.default_rng(1).normal(size=(20, 2)) * 50
    np.testing.assert_allclose(mirror(mirror(points)), points, atol=1e-9)


def test_points_of_the_midline_stay_and_a_point_beside_it_changes_side() -> None:
    mirror = reflection(90, 10)  # the line y = 10
    np.testing.assert_allclose(mirror(np.array([[3.0, 10.0], [3.0, 14.0]])), [[3, 10], [3, 6]], atol=1e-12)


def test_angle_and_offset_are_read_back() -> None:
    mirror = reflection(-14, 7.5)
    assert mirror.angle_deg == pytest.approx(-14) and mirror.offset_mm == pytest.approx(7.5)


def test_sampling_agrees_with_scipy_inside_and_is_zero_outside() -> None:
    volume = np.random.default_rng(2).normal(size=(9, 8, 2)).astype(np.float32)
    pixels = np.random.default_rng(3).uniform(0, 7, size=(50, 2))
    want = np.stack([ndimage.map_coordinates(volume[..., d], pixels.T, order=1) for d in range(2)], axis=1)
    np.testing.assert_allclose(sample(volume, pixels), want, atol=1e-5)
    np.testing.assert_array_equal(sample(volume, np.array([[-1.0, 3.0], [9.0, 3.0], [4.0, 400.0], [-1e6, 2.0]])), 0)


def test_pixels_and_points_are_inverse() -> None:
    plane = Grid.centred((6, 4), (0.8, 1.1))
    pixels = plane.voxels(plane.points())
    np.testing.assert_allclose(pixels[[0, 1, 4, -1]], [[0, 0], [0, 1], [1, 0], [5, 3]], atol=1e-12)
    np.testing.assert_allclose(plane.points().mean(axis=0), 0, atol=1e-12)


def test_unequal_pixels_do_not_bend_the_mirror(egg) -> None:
    head = egg(9, 6, spacing_mm=(2.4, 1.9), slices=1).clip(0, 60)
    again = apply_mirror(head, reflection(9, 6), (2.4, 1.9))
    bent = apply_mirror(head, reflection(9, 6), (1.9, 2.4))
    assert np.mean(np.abs(again - head) > 15) < 0.03 < 0.05 < np.mean(np.abs(bent - head) > 15)


def test_the_support_of_a_map_is_mirrored_without_a_rim_of_rounding_errors() -> None:
    volume = np.zeros((9, 7, 1), np.float32)
    volume[5:8, 2:5] = 1000
    for spacing in ((0.1, 0.1), (0.9, 0.7), (1 / 3, 1.1)):
        np.testing.assert_array_equal(apply_mirror(volume, reflection(0, 0), spacing) > 0, volume[::-1] > 0)


def test_no_tilt_in_space_is_the_plain_flip_of_the_first_axis() -> None:
    volume = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    np.testing.assert_array_equal(apply_mirror(volume, reflection((0, 0), 0), SPACING), volume[::-1])


def test_an_offset_of_one_voxel_moves_the_image_by_two() -> None:
    volume = np.zeros((11, 5, 5), np.float32)
    volume[3, 2, 1] = 1
    seen = apply_mirror(volume, reflection((0, 0), 2.0), SPACING)  # the plane lies at voxel 6
    assert tuple(np.argwhere(seen)[0]) == (9, 2, 1) and seen.sum() == 1


@pytest.mark.parametrize("tilt", [(0, 0, 0), (12, -7, 5.5), (-25, 20, -3)])
def test_a_mirror_in_space_seen_twice_shows_the_point_itself_and_its_tilt_is_read_back(tilt: tuple[float, ...]) -> None:
    mirror, points = reflection(tilt[:2], tilt[2]), np.random.default_rng(1).normal(size=(20, 3))
    np.testing.assert_allclose(mirror(mirror(points)), points, atol=1e-12)
    np.testing.assert_allclose((mirror.angle_deg, mirror.roll_deg, mirror.offset_mm), tilt, atol=1e-9)


def test_a_point_on_the_plane_stays_and_one_beside_it_crosses_over() -> None:
    mirror = reflection((90 - 1e-9, 0), 4.0)  # a normal that points to the front
    np.testing.assert_allclose(mirror(np.array([3.0, 4.0, -2.0])), [3, 4, -2], atol=1e-6)
    np.testing.assert_allclose(mirror(np.array([3.0, 9.0, -2.0])), [3, -1, -2], atol=1e-6)


def test_images_are_read_trilinearly_with_zero_outside() -> None:
    volume, mirror = np.random.default_rng(2).uniform(1, 2, (10, 9, 8)).astype(np.float32), reflection((8, 5), 1.3)
    grid = Grid.centred(volume.shape, SPACING)
    voxels = grid.voxels(mirror(grid.points()))
    want = ndimage.map_coordinates(np.pad(volume, 1), voxels.T + 1, order=1).reshape(volume.shape)
    np.testing.assert_allclose(apply_mirror(volume, mirror, SPACING), want, atol=1e-5)


def test_the_zero_background_stays_exactly_zero_far_from_the_head() -> None:
    volume = np.zeros((30, 30, 30), np.float32)
    volume[10:20, 10:20, 10:20] = 7
    seen = apply_mirror(volume, reflection((10, 10), 1), (1.0, 1.0, 1.0))
    assert not seen[:3].any() and not seen[:, :, -3:].any() and seen.max() == pytest.approx(7)
