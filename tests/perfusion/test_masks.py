from __future__ import annotations

import numpy as np
import pytest

from monai_isles.perfusion import intracranial_mask, tissue_mask
from monai_isles.perfusion.masks import skull_interior
from monai_isles.perfusion.quality import gap_flags, missing_share, slice_flags

SPACING = (1.0, 1.0, 5.0)


def round_head() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(128) - 64, np.arange(128) - 64, indexing="ij")
    r = np.hypot(x, y)
    head = np.full((128, 128, 1), -1000.0, np.float32)
    head[r < 58], head[r < 54], head[r < 48], head[r < 9] = 15.0, 1000.0, 35.0, 5.0
    return head, r[..., None]


def test_tissue_is_found_inside_the_skull_without_bone_scalp_or_ventricle() -> None:
    head, r = round_head()
    mask = tissue_mask(head + np.random.default_rng(0).normal(0, 2, head.shape).astype(np.float32), SPACING)
    assert mask[(r > 14) & (r < 44)].all()
    assert not mask[r > 48].any() and not mask[r < 6].any()


def test_a_slice_of_air_has_no_tissue() -> None:
    assert not tissue_mask(np.full((64, 64, 1), -1000.0, np.float32), SPACING).any()


def test_the_space_inside_the_skull_reaches_the_bone_and_holds_the_ventricle() -> None:
    head, r = round_head()
    inside = intracranial_mask(head, SPACING)
    assert inside[r < 46].all() and not inside[r > 49].any()
    assert not intracranial_mask(np.full((64, 64, 1), -1000.0, np.float32), SPACING).any()


@pytest.mark.parametrize("spacing_mm", [1.0, 0.5], ids=["coarse", "fine"])
def test_a_gap_in_the_skull_of_two_centimetres_loses_no_brain(spacing_mm: float) -> None:
    head, _ = round_head()
    scale = round(1 / spacing_mm)
    head = np.kron(head, np.ones((scale, scale, 1), np.float32))
    whole = tissue_mask(head, (spacing_mm, spacing_mm, 5.0))
    middle, gap = head.shape[0] // 2, 10 * scale
    head[middle:, middle - gap : middle + gap][head[middle:, middle - gap : middle + gap] > 500] = 15.0
    open_skull = tissue_mask(head, (spacing_mm, spacing_mm, 5.0))
    assert whole.sum() > 5000 * scale**2 and (whole & open_skull).sum() > 0.95 * whole.sum()


@pytest.mark.parametrize("case", ["craniectomy", "cut field of view"])
def test_the_outline_of_a_widely_open_skull_is_continued_and_told(case: str) -> None:
    """A flap of 95 degrees (71 mm) without bone, and a head of which 20 mm lie outside the image."""
    head, r = round_head()
    if case == "craniectomy":
        x, y = np.indices(head.shape[:2]) - 64
        flap = (r > 48) & (r < 54) & ((x > 0) & (np.abs(y) < 1.09 * x))[..., None]
        head[flap] = 35.0
    else:
        head, r = head[26:], r[26:]
    inside, gaps = skull_interior(head, SPACING)
    assert gaps.tolist() == [True] and inside[r < 47].mean() > 0.98 and inside[r > 50].sum() < 0.01 * inside.sum()
    (told,) = gap_flags(gaps)
    assert told.code == "skull-gap" and "open in slice 1 " in told.text
    assert skull_interior(round_head()[0], SPACING)[1].tolist() == [False] and not [*gap_flags(np.array([False]))]


def test_a_slice_without_a_skull_takes_the_outline_of_its_neighbour_and_is_told() -> None:
    head, r = round_head()
    stack = np.repeat(head, 5, axis=2)
    stack[..., 2][stack[..., 2] > 500] = 15.0
    inside, _ = skull_interior(stack, SPACING)
    assert inside[..., 2][r[..., 0] < 46].all() and inside[..., 2].sum() > 0.9 * inside[..., 1].sum()
    assert not [*slice_flags(np.array([80, 90, 100, 99, 80]))]
    (flag,) = slice_flags(np.array([80, 90, 0, 10, 99, 80]))
    assert flag.code == "slices-cut" and "3 (100 %), 4 (89 %)" in flag.text
    np.testing.assert_allclose(missing_share(np.array([50, 100, 90, 100, 0])), [0, 0, 0.1, 0, 0])
    assert not missing_share(np.zeros(3)).any()
