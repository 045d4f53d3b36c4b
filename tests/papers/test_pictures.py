"""Outlines in the paper's colours, pseudo-DWI beside the true one."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from monai_isles.errors import IslesError
from monai_isles.papers.figures import contour_grid, pseudo_dwi_montage
from monai_isles.reports.canvas import png_bytes

SIZE = 60


def square(first: int, last: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[first:last, first:last] = True
    return mask


def pixels(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure, max_bytes=500_000))).convert("RGB")).astype(int)


def share(picture: np.ndarray, colour: str) -> float:
    wanted = np.round(255 * np.array(to_rgb(colour)))
    return float((np.abs(picture - wanted).max(axis=-1) < 40).mean())


def grid(**masks: np.ndarray) -> Figure:
    named = {name.replace("_", "-"): mask for name, mask in masks.items()}
    return contour_grid([(f"case_{n}", np.full((SIZE, SIZE), 0.0), named) for n in range(4)], note="simulated data")


def test_truth_is_orange_focal_red_cross_entropy_cyan() -> None:
    figure = grid(truth=square(20, 40), focal=square(15, 45), cross_entropy=square(8, 52))
    seen = pixels(figure)
    assert all(share(seen, colour) > 0.001 for colour in ("orange", "red", "cyan"))
    assert share(seen, "red") < share(seen, "cyan"), "the larger square has the longer outline"
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["truth", "focal", "cross-entropy", "simulated data"]


def test_an_empty_mask_leaves_no_outline() -> None:
    seen = pixels(grid(truth=square(20, 40), focal=square(0, 0)))
    width = seen.shape[0] * 9 // 10  # the legend below names it all the same
    assert share(seen[:width], "red") == 0 and share(seen[:width], "orange") > 0.001


def test_titles_stand_on_the_pictures_and_own_colours_are_taken() -> None:
    figure = contour_grid([("a", square(5, 9) * 1.0, {"x": square(20, 40)})], {"x": "lime"})
    assert [text.get_text() for text in figure.axes[0].texts] == ["a", "R", "L"]
    assert share(pixels(figure), "lime") > 0.001


def test_the_patients_right_lies_on_the_left() -> None:
    right = np.zeros((SIZE, SIZE), bool)
    right[-15:-5, 20:40] = True  # RAS+: the largest i is the patient's right
    seen = pixels(contour_grid([("", np.zeros((SIZE, SIZE)), {"truth": right})]))
    top = seen[: seen.shape[0] * 8 // 10]
    half = top.shape[1] // 2
    assert share(top[:, :half], "orange") > 0.001 and share(top[:, half:], "orange") == 0


@pytest.mark.parametrize("draw", [contour_grid, pseudo_dwi_montage])
def test_a_picture_of_no_case_is_refused(draw: Callable[[list], object]) -> None:
    with pytest.raises(IslesError, match=r"E-REP-12: slices cannot be drawn\n.*\n.*no case"):
        draw([])


def pair(**more: object) -> dict[str, object]:
    true = 0.5 * square(10, 50) + 0.4 * square(20, 30)
    images = {"true": true, "pseudo": true - 0.5 * square(20, 30), "lesion": square(20, 30)}
    return {"title": "case_7", **images, "ssim": 0.834, "psnr_db": 19.26, **more}


def test_true_pseudo_and_difference_stand_side_by_side_and_the_pseudo_is_called_synthetic() -> None:
    figure = pseudo_dwi_montage([pair(), pair(local_ssim=0.54, local_psnr_db=13.2)], note="simulated data")
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[0] == "true DWI" and titles[1] == "synthetic pseudo-DWI,\nnot an acquisition"
    assert titles[2].startswith("pseudo minus true")
    rows = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert rows[0] == ["case_7", "R", "L"] and rows[1] == ["synthetic", "SSIM 0.83, PSNR 19.3 dB"]
    assert rows[4][1] == "SSIM 0.83, PSNR 19.3 dB\nlesion: SSIM 0.54, PSNR 13.2 dB"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lesion", "simulated data"]


def test_too_dark_a_pseudo_dwi_is_blue_where_it_is_too_dark() -> None:
    figure = pseudo_dwi_montage([pair(ssim=None, psnr_db=None)])
    assert [text.get_text() for text in figure.axes[1].texts] == ["synthetic", ""]
    (picture,) = figure.axes[2].images
    difference = np.asarray(picture.get_array())
    assert difference.min() == pytest.approx(-0.5) and difference.max() == 0
    red, _, blue, _ = picture.cmap(picture.norm(difference.min()))
    assert blue > 2 * red
    assert np.allclose(picture.cmap(picture.norm(0.0))[:3], 0.97, atol=0.01)
