from __future__ import annotations

import numpy as np
import pytest

SPES_IMAGES = {"t1c", "t2", "dwi", "cbf", "cbv", "ttp", "tmax"}


def test_images_have_the_grid_types_and_zero_surroundings_of_the_release(spes) -> None:
    for case in spes:
        assert set(case.images) == SPES_IMAGES and set(np.unique(case.label)) == {0, 1, 2}
        brain = case.images["t2"] > 0
        for name, image in case.images.items():
            assert image.shape == (48, 55, 36)
            assert image.dtype == (np.float32 if name in {"cbf", "cbv", "ttp", "tmax"} else np.int16)
            assert not image[~brain].any() and np.isfinite(image).all() and image.min() >= 0


def test_blood_comes_late_in_most_of_the_area_and_hardly_anywhere_else(spes) -> None:
    for case in spes:
        brain, area, tmax = case.images["t2"] > 0, case.label > 0, case.images["tmax"]
        assert (tmax[area] > 6).mean() > 0.4
        assert (tmax[brain & ~area] > 6).mean() < 0.05
    whole = [(c.images["tmax"][c.label > 0] > 6).mean() for c in spes]
    assert 0.55 < np.mean(whole) < 0.9


def test_each_map_changes_in_area_and_core_as_acute_stroke_does(spes, contrast) -> None:
    area = {name: np.mean([contrast(c, name, c.label == 1) for c in spes]) for name in SPES_IMAGES}
    core = {name: np.mean([contrast(c, name, c.label == 2) for c in spes]) for name in SPES_IMAGES}
    assert area["tmax"] > 1.5 and area["ttp"] > 0.15 and area["cbf"] < -0.15
    assert core["cbf"] < area["cbf"] - 0.1 and core["cbv"] < -0.15 < area["cbv"] + 0.05 and area["cbv"] > -0.1
    assert core["dwi"] > 0.3 and abs(area["dwi"]) < 0.15
    assert abs(area["t2"]) < 0.15 and abs(core["t2"]) < 0.25


def test_the_core_lies_inside_the_area_and_volumes_add_up(spes) -> None:
    for case in spes:
        truth, voxel_ml = case.truth, np.prod(case.spacing_mm) / 1000
        assert truth["core_ml"] == pytest.approx((case.label == 2).sum() * voxel_ml)
        assert truth["penumbra_ml"] == pytest.approx((case.label == 1).sum() * voxel_ml)
        assert truth["lesion_ml"] == pytest.approx(truth["core_ml"] + truth["penumbra_ml"])
        assert truth["lesion_ml"] > 1.2 * truth["core_ml"]


def test_maps_have_the_units_of_the_field(spes) -> None:
    for case in spes:
        healthy = (case.images["t2"] > 0) & (case.label == 0)
        middle = {name: np.median(case.images[name][healthy]) for name in ("cbf", "cbv", "ttp", "tmax")}
        assert 20 < middle["cbf"] < 70 and 1.5 < middle["cbv"] < 5 and 14 < middle["ttp"] < 35 and middle["tmax"] < 4
