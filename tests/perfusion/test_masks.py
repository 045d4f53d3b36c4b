from __future__ import annotations

import numpy as np

from monai_isles.perfusion import intracranial_mask, tissue_mask

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
