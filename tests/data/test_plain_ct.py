"""The plain CT on another grid: resampled where somebody or the frame of reference vouches, else left out in mm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_isles.data.study import AIR_HU, ct_on_grid, read_study
from monai_isles.io.read import Image
from tests.fixtures.shared import one_study


def image(shape: tuple[int, ...], spacing: tuple[float, ...], origin: tuple[float, ...] = (0, 0, 0)) -> Image:
    """Voxels hold 10 + x + 2 y + 3 z, in mm."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    x, y, z = np.meshgrid(
        *(np.arange(n) * s + o for n, s, o in zip(shape, spacing, origin, strict=True)), indexing="ij"
    )
    data = (10 + x + 2 * y + 3 * z).astype(np.float32)
    return Image(data, affine, spacing, Path("ct"), "", affine, shape)


LIKE = image((6, 5, 4), (1.0, 1.0, 5.0), (1.0, 1.0, 2.0))
FINE = image((20, 18, 40), (0.5, 0.5, 1.0))


@pytest.mark.parametrize(("asked", "one_frame", "why"), [(True, False, "--resample"), (False, True, "one frame")])
def test_a_ramp_in_mm_is_the_same_ramp_on_the_grid_of_the_series(asked: bool, one_frame: bool, why: str) -> None:
    moved, (told,) = ct_on_grid(FINE, LIKE, resample=asked, one_frame=one_frame)
    np.testing.assert_allclose(moved, LIKE.data, atol=1e-4)
    assert "was resampled" in told and why in told


def test_nobody_vouches_so_it_is_left_out_with_the_distance() -> None:
    """Near corners (-0.25, -0.25, -0.5) and (0.5, 0.5, -0.5); far ones (9.75, 8.75, 39.5) and (6.5, 5.5, 19.5)."""
    moved, (told,) = ct_on_grid(FINE, LIKE, resample=False, one_frame=False)
    assert moved is None and "corners 20.52 mm apart" in told and "was not used" in told


def test_one_that_does_not_reach_over_the_head_is_left_out() -> None:
    short = image((20, 18, 10), (0.5, 0.5, 1.0))
    moved, (told,) = ct_on_grid(short, LIKE, resample=True, one_frame=True)
    assert moved is None and "covers 50 % of the head" in told


@pytest.mark.parametrize("below_mm", [0.0, 0.3, 0.5])
def test_a_slice_at_the_edge_of_the_plain_ct_is_no_air(below_mm: float) -> None:
    """The first slice of the series lies up to half a slice below the middle of the first of the plain CT."""
    like = image((6, 5, 4), (1.0, 1.0, 5.0), (1.0, 1.0, -below_mm))
    moved, _ = ct_on_grid(FINE, like, resample=True, one_frame=False)
    np.testing.assert_allclose(moved[..., 0], FINE.data[2:14:2, 2:12:2, 0], atol=1e-4)


def test_outside_is_air_and_the_same_grid_passes_untouched() -> None:
    wide = image((400, 5, 4), (1.0, 1.0, 5.0), (1.0, 1.0, 2.0))
    wide.data[6:] = AIR_HU
    moved, _ = ct_on_grid(FINE, wide, resample=True, one_frame=False)
    assert moved[30:].max() == AIR_HU and moved.shape == (400, 5, 4)
    assert ct_on_grid(LIKE, LIKE, resample=False, one_frame=False) == (LIKE.data, ())


@pytest.mark.parametrize("same", [True, False])
def test_a_dicom_study_uses_its_thin_plain_ct_by_the_frame_of_reference(tmp_path: Path, write_tiny, same: bool) -> None:
    import pydicom

    scan, folder = write_tiny("classic", 10, 3)
    for path in sorted((folder / "ct").iterdir()):  # half the pixels of twice the size, the same field of view
        header = pydicom.dcmread(path)
        rows = np.frombuffer(header.PixelData, "<u2").reshape(5, 6)
        header.PixelData = np.repeat(np.repeat(rows, 2, 0), 2, 1).tobytes()
        header.Rows, header.Columns = 10, 12
        spacing = [float(one) / 2 for one in header.PixelSpacing]
        header.PixelSpacing = spacing
        at = [float(one) for one in header.ImagePositionPatient]
        header.ImagePositionPatient = [at[0] - spacing[1] / 2, at[1] - spacing[0] / 2, at[2]]
        if not same:
            header.FrameOfReferenceUID = "1.9"
        header.save_as(path)
    images = read_study(one_study(folder))
    if same:
        np.testing.assert_allclose(images.plain_ct, scan.images["ct"], atol=1e-3)
        assert "both have one frame of reference" in images.notes[0]
    else:
        assert images.plain_ct is None and "mm apart) and was not used" in images.notes[0]
        assert read_study(one_study(folder), resample=True).plain_ct is not None
