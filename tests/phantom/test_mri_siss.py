from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.mri.siss import draw_sub_acute


def test_images_have_the_grid_types_and_zero_surroundings_of_the_release(siss) -> None:
    for case in siss:
        assert set(case.images) == {"t1", "t2", "flair", "dwi"} and case.label.dtype == np.uint8
        brain = case.images["flair"] > 0
        assert 0.12 < brain.mean() < 0.4 and not brain[0].any() and not brain[:, -1].any()
        for image in case.images.values():
            assert image.shape == (58, 58, 39) and image.dtype == np.int16
            assert np.array_equal(image > 0, brain)
        assert set(np.unique(case.label)) == {0, 1} and brain[case.label > 0].all()


def test_a_lesion_is_bright_on_flair_t2_and_dwi_and_dark_on_t1(siss, contrast) -> None:
    seen = {name: [contrast(c, name, c.label > 0) for c in siss] for name in ("flair", "t2", "dwi", "t1")}
    assert min(seen["flair"]) > 0.08 and np.mean(seen["flair"]) > 0.2
    assert np.mean(seen["t2"]) > 0.1 and np.mean(seen["dwi"]) > 0.25 and np.mean(seen["t1"]) < -0.04


def test_sequences_show_different_parts_of_the_lesion(siss) -> None:
    shares = [c.truth["core_ml"] / c.truth["lesion_ml"] for c in siss]
    assert max(shares) <= 1.05 and min(shares) < 0.85


def test_dwi_fades_and_flair_ripens_within_the_week() -> None:
    states = [draw_sub_acute(np.random.default_rng(i)) for i in range(300)]
    early, late = [s for s in states if s["day"] < 3], [s for s in states if s["day"] > 6]
    assert np.mean([s["dwi"] for s in early]) > 2 * np.mean([s["dwi"] for s in late])
    assert np.mean([s["flair"] for s in early]) < np.mean([s["flair"] for s in late])
    assert all(s["t1"] < 0 < min(s["t2"], s["flair"], s["dwi"]) and 1 <= s["day"] <= 7 for s in states)
    assert 0.05 < np.mean([s["bleeding"] > 0 for s in states]) < 0.3


@pytest.mark.parametrize("name", ["t1", "t2", "flair", "dwi"])
def test_the_lesion_is_not_a_threshold_of_any_sequence(siss, name: str) -> None:
    best = []
    for case in siss:
        image, lesion = case.images[name], case.label > 0
        brain = image > 0
        cuts = np.quantile(image[brain], np.linspace(0.02, 0.99, 40))
        above = ((brain & (image > c)) for c in cuts)
        below = ((brain & (image < c)) for c in cuts)
        best.append(max(_dice(region, lesion) for part in (above, below) for region in part))
    assert np.mean(best) < 0.75


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())
