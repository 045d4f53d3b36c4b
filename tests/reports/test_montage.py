"""Which slices are shown, how they lie on the screen, and the pictures made of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from monai_isles.errors import IslesError
from monai_isles.reports import canvas as palette
from monai_isles.reports.canvas import png_bytes
from monai_isles.reports.montage import case_montage, drawn_keys, map_mosaic, methods_montage, mirrored_montage, panels
from monai_isles.reports.views import CaseView, on_screen

Make = Callable[..., CaseView]


def view_of(
    lesion: np.ndarray, truth: np.ndarray | None = None, probability: np.ndarray | None = None, **images: np.ndarray
) -> CaseView:
    return CaseView("case_1", images, (2.0, 3.0, 5.0), probability, None, lesion, truth)


def block(depth: int, *slices: int, size: int = 4) -> np.ndarray:
    mask = np.zeros((size, size, depth), bool)
    mask[1:3, 1:3, list(slices)] = True
    return mask


def test_every_lesion_slice_is_shown_when_they_are_few() -> None:
    assert view_of(block(8, 2, 5), block(8, 6)).chosen_slices(4) == [2, 5, 6]


def test_many_lesion_slices_are_thinned_evenly_and_keep_the_largest() -> None:
    mask = block(12, *range(1, 11))
    mask[:, :, 3] = True
    chosen = view_of(mask).chosen_slices(4)
    assert len(set(chosen)) == 4 and 3 in chosen and chosen == sorted(chosen)
    assert chosen[0] <= 3 and chosen[-1] >= 8


@pytest.mark.parametrize(("found", "most"), [(5, 4), (6, 4), (7, 6), (9, 4)])
def test_as_many_slices_as_allowed(found: int, most: int) -> None:
    assert len(set(view_of(block(12, *range(found))).chosen_slices(most))) == most


def test_without_lesion_the_most_suspicious_slices_stand_in() -> None:
    probability = np.zeros((4, 4, 5))
    probability[1, 1, 4], probability[1, 1, 1], probability[1, 1, 2] = 0.3, 0.2, 0.1
    empty = np.zeros((4, 4, 5), bool)
    assert view_of(empty, empty, probability).chosen_slices(4) == [1, 4]
    assert view_of(empty).chosen_slices(4) == [2]
    assert view_of(empty, None, probability * 0).chosen_slices(4) == [2]


def test_the_patients_right_is_on_the_left_of_the_screen_and_the_front_is_up() -> None:
    volume = np.zeros((5, 7, 1))
    volume[4, 6, 0] = 1.0  # RAS+: the largest i is the patient's right, the largest j the front
    seen = on_screen(volume, 0, (slice(0, 5), slice(0, 7)))
    assert seen.shape == (7, 5) and seen[0, 0] == 1.0


def test_the_box_goes_12_mm_around_the_brain() -> None:
    cbf = np.zeros((60, 50, 2))
    cbf[20:30, 10:41, 1] = 5.0
    assert view_of(cbf, cbf=cbf).box == (slice(14, 36), slice(6, 45))
    assert view_of(cbf).box == (slice(0, 60), slice(0, 50))
    assert view_of(cbf, ct=np.full(cbf.shape, -1000.0)).box == (slice(0, 60), slice(0, 50))


def test_columns_follow_the_images_that_exist(case: Make) -> None:
    view = case()
    assert [p.title for p in panels(view)] == ["CT", "CBF", "Tmax", "lesion probability", "uncertainty"]
    assert [p.window for p in panels(view)][:3:2] == [(0.0, 80.0), (0.0, 12.0)]
    whole = (slice(0, 64), slice(0, 64))
    assert np.isnan(panels(view)[1].screen_slice(0, whole)[0, 0]), "outside the brain the maps are blank"
    bare = CaseView("b", {}, (1, 1, 1), None, None, view.lesion)
    assert [p.title for p in panels(bare)] == ["prediction"]


def test_a_montage_has_a_panel_a_column_and_slice_and_says_left_and_right(case: Make) -> None:
    figure = case_montage(case(), [1, 2])
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words.count("R") == words.count("L") == 2 * 6
    assert "slice 2 of 4" in words and "slice 3 of 4" in words
    assert [axes.get_title() for axes in figure.axes[:6]][-1] == "agreement"


def test_without_reference_the_last_column_is_the_prediction(case: Make) -> None:
    titles = [axes.get_title() for axes in case_montage(case(truth=False), [1]).axes]
    assert "prediction" in titles and "agreement" not in titles


def test_agreement_uses_the_three_colours_of_the_paper() -> None:
    found, true = (np.zeros((40, 40, 1), bool) for _ in range(2))
    found[5:25, 5:35], true[15:35, 5:35] = True, True
    view = CaseView("c", {"ct": np.zeros((40, 40, 1))}, (1, 1, 1), None, None, found, true)
    picture = np.asarray(
        Image.open(io.BytesIO(png_bytes(case_montage(view, [0], headings=False, bars=False)))).convert("RGB")
    ).astype(int)
    last = picture[:, picture.shape[1] // 2 :]
    seen = {
        name: _like(last, getattr(palette, name)).mean()
        for name in ("TRUE_POSITIVE", "FALSE_POSITIVE", "FALSE_NEGATIVE")
    }
    assert all(share == pytest.approx(10 * 30 / 1600, rel=0.15) for share in seen.values()), seen


def test_methods_stand_side_by_side_on_the_slice_of_the_largest_reference() -> None:
    truth = np.zeros((40, 40, 3), bool)
    truth[10:20, 10:20, 0] = truth[5:35, 5:35, 2] = True
    views = {
        name: CaseView("c", {"ct": np.zeros((40, 40, 3))}, (1, 1, 1), None, None, lesion, truth)
        for name, lesion in {"all": truth, "none": np.zeros_like(truth)}.items()
    }
    figure = methods_montage([views, views])
    assert [axes.get_title() for axes in figure.axes][:2] == ["all", "none"]
    picture = np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB")).astype(int)
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    for half, hit, other in ((left, "TRUE_POSITIVE", "FALSE_NEGATIVE"), (right, "FALSE_NEGATIVE", "TRUE_POSITIVE")):
        assert _like(half, getattr(palette, hit)).mean() > 0.4 > 0.01 > _like(half, getattr(palette, other)).mean()


def mri(*keys: str, size: int = 24, depth: int = 3, **more: object) -> CaseView:
    """Return a bright head without a lesion, every modality the same, values to 1000."""
    image = np.zeros((size, size, depth), np.float32)
    image[4:-4, 4:-4] = 1000.0
    none = np.zeros(image.shape, bool)
    given = {"probability": image / 2000, "uncertainty": None, "lesion": none, **more}
    return CaseView("m", dict.fromkeys(keys, image), (1, 1, 1), **given)


@pytest.mark.parametrize(
    ("keys", "titles"),
    [
        (("flair", "t1", "t2", "dwi"), ["FLAIR", "T1", "T2", "DWI"]),
        (
            ("dwi", "cbf", "cbv", "t1c", "t2", "tmax", "ttp"),
            ["T1 with contrast", "T2", "DWI", "CBF", "CBV", "TTP", "Tmax"],
        ),
        (("dwi", "adc"), ["DWI", "ADC"]),
    ],
    ids=["siss", "spes", "dwi-adc"],
)
def test_every_modality_of_an_mri_bundle_is_a_column(keys: tuple[str, ...], titles: list[str]) -> None:
    assert [p.title for p in panels(mri(*keys))] == [*titles, "lesion probability"]
    assert all(p.window == (0.0, 1000.0) for p in panels(mri(*keys)) if p.cmap == "gray")


def test_of_ct_perfusion_four_images_are_drawn_of_mri_all_of_a_series_none() -> None:
    assert drawn_keys(["case", "ct", "cbf", "cbv", "mtt", "tmax", "dwi", "ctp"]) == ["ct", "dwi", "cbf", "tmax"]
    assert drawn_keys(["ctp", "cbf", "cbv", "mtt", "tmax"]) == ["cbf", "cbv", "mtt", "tmax"]
    assert drawn_keys(["dwi", "flair", "t1", "t2", "label"]) == ["flair", "t1", "t2", "dwi"]


def test_outside_a_skull_stripped_brain_the_probability_is_blank() -> None:
    view = mri("flair")
    seen = panels(view)[-1].screen_slice(0, (slice(0, 24), slice(0, 24)))
    assert np.isnan(seen[0, 0]) and seen[12, 12] == 0.5


def test_a_synthetic_image_says_so_above_and_on_every_slice(case: Make) -> None:
    view = case(depth=2)
    view = replace(view, synthetic={"pseudo_dwi": view.probability})
    titles = [p.title for p in panels(view)]
    assert titles.index("synthetic pseudo-DWI,\nnot an acquisition") == titles.index("CBF") - 1
    words = [text.get_text() for axes in case_montage(view, [0, 1]).axes for text in axes.texts]
    assert words.count("synthetic") == 2


def test_an_image_that_was_no_input_says_so(case: Make) -> None:
    view = case(depth=1)
    view = replace(view, images={**view.images, "dwi": view.images["cbf"]})
    assert "DWI\n(not an input)" in [p.title for p in panels(view)]


def test_a_deep_volume_shows_14_slices_those_of_the_lesion_and_others_over_the_head() -> None:
    image, lesion = np.zeros((8, 8, 153)), np.zeros((8, 8, 153), bool)
    image[2:6, 2:6, 20:140], lesion[3, 3, 60:63] = 100.0, True
    chosen = view_of(lesion, t1=image).shown_slices(6)
    assert len(chosen) == 14 and {60, 61, 62} <= set(chosen) and chosen == sorted(chosen)
    assert min(chosen) >= 20 and max(chosen) < 140
    assert max(np.diff([20, *chosen, 139])) <= 16, "no part of the head is left out"
    lesion[3, 3, 40:120] = True
    inside = view_of(lesion, t1=image).shown_slices(6)
    assert len(inside) == 14 and min(inside) >= 40 and max(inside) < 120


def test_a_deep_volume_without_lesion_or_image_is_spread_over() -> None:
    empty = np.zeros((4, 4, 153), bool)
    chosen = view_of(empty).shown_slices(6)
    assert len(chosen) == 14 and max(np.diff([-1, *chosen, 153])) <= 20
    few = np.zeros((4, 4, 40))
    few[1, 1, 10:15] = 5.0
    assert view_of(empty[..., :40], t1=few).shown_slices(6)[:5] == [10, 11, 12, 13, 14]


def test_the_box_of_an_mri_goes_around_what_is_brighter_than_noise() -> None:
    image = np.random.default_rng(0).uniform(0, 20, (60, 50, 2))
    image[20:30, 10:41] += 1000.0
    assert view_of(image, dwi=image).box == (slice(14, 36), slice(6, 45))


def test_pictures_stay_below_80_kb_even_of_noise() -> None:
    noise = np.random.default_rng(0).uniform(0, 80, (256, 256, 1))
    view = CaseView(
        "n", {"ct": noise, "cbf": noise, "tmax": noise / 8}, (1, 1, 5), noise / 80, noise / 160, noise > 70, noise > 75
    )
    png = png_bytes(case_montage(view, [0]))
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and len(png) <= 80_000


def test_images_on_different_grids_are_refused(case: Make) -> None:
    view = case()
    with pytest.raises(IslesError, match=r"E-REP-06.*\n.*odd.*\n.*ct 3 x 3 x 1.*lesion 64 x 64 x 4"):
        CaseView("odd", {"ct": np.zeros((3, 3, 1))}, (1, 1, 1), None, None, view.lesion)
    with pytest.raises(IslesError, match="E-REP-06"):
        CaseView("flat", {}, (1, 1, 1), None, None, np.zeros((3, 3), bool))


def _like(picture: np.ndarray, colour: str) -> np.ndarray:
    wanted = 0.7 * np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return np.abs(picture - wanted).max(axis=-1) < 30


def flipped(case: CaseView, offset_mm: float = 0.0) -> CaseView:
    """The case as predicted with the plain reflection at ``offset_mm`` of the middle."""
    registration = {"method": "flip", "angle_deg": 0.0, "roll_deg": 0.0, "offset_mm": offset_mm, "similarity": 0.9}
    registration |= {"matrix": [[-1.0, 0.0], [0.0, 1.0]], "shift_mm": [2 * offset_mm, 0.0]}
    return replace(case, result={**case.result, "registration": registration})


def test_the_mirrored_channels_lie_below_their_images(case: Make) -> None:
    view = flipped(case("case_1", depth=2, size=32))
    spot = view.images["tmax"].copy()
    spot[20, 16, 0] = 11.0  # counterpart of column 31 - 20 = 11 of the array
    figure = mirrored_montage(replace(view, images={**view.images, "tmax": spot}), 0)
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(drawn) == 2 * len(view.images)
    above, below = drawn[len(view.images) - 1], drawn[-1]
    np.testing.assert_allclose(below.filled(-1), above.filled(-1)[:, ::-1], atol=1e-5)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"mirrored", "R", "L"} <= texts


def test_the_midline_is_drawn_where_the_mirror_has_it(case: Make) -> None:
    view = flipped(case("case_1", depth=1, size=32), offset_mm=5.0)  # 2 mm a pixel: 2.5 pixels right of 15.5
    columns, rows = view.box
    (line,) = mirrored_montage(view, 0).axes[0].lines
    np.testing.assert_allclose(line.get_xdata(), [columns.stop - 1 - 18] * 2)  # the patient's right is on the left
    np.testing.assert_allclose(line.get_ydata(), [rows.stop - 1 - rows.start, 0])


def test_a_mosaic_holds_every_slice_with_its_number_and_every_outline(case: Make) -> None:
    view = case()
    figure = map_mosaic(view, panels(view)[0])
    places = [axes for axes in figure.axes if axes.images and any(text.get_text() == "R" for text in axes.texts)]
    numbers = [axes.texts[-1].get_text() for axes in places]
    assert numbers == [str(k + 1) for k in range(view.lesion.shape[2])]
    outlined = [k for k, axes in enumerate(places) if axes.collections]
    marked = view.lesion.astype(bool) if view.truth is None else view.lesion.astype(bool) | view.truth.astype(bool)
    assert outlined == np.flatnonzero(marked.any(axis=(0, 1))).tolist()


def test_a_map_in_another_unit_has_a_window_of_its_own() -> None:
    brain = np.ones((8, 8, 1), bool)
    lesion = np.zeros((8, 8, 1), bool)
    for flow, top, unit in ((60.0, 80.0, "ml/100 g/min"), (1500.0, 1500.0, "")):
        view = CaseView("c", {"cbf": flow * brain}, (1, 1, 1), None, None, lesion)
        assert (panels(view)[0].window, panels(view)[0].unit) == ((0.0, top), unit)
