"""Bars and boxes show the numbers they were given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgb

from monai_isles.errors import IslesError
from monai_isles.papers.figures import architecture_bars, size_group_boxes

BARS = [
    {"architecture": "PSPNet", "loss": "focal", "mean": 0.54, "sd": 0.09, "n": 24},
    {"architecture": "PSPNet", "loss": "cross-entropy", "mean": 0.49, "sd": 0.11, "n": 24},
    {"architecture": "3D V-Net", "loss": "focal", "mean": None, "sd": None, "n": 24},
    {"architecture": "3D V-Net", "loss": "cross-entropy", "mean": 0.3, "sd": None, "n": 24},
]


def test_bars_are_as_high_as_the_means_red_for_focal_blue_for_cross_entropy() -> None:
    (place,) = architecture_bars(BARS, note="simulated data").axes
    seen = {
        (round(bar.get_x() + bar.get_width() / 2), bar.get_height()): to_rgb(bar.get_facecolor())
        for bar in place.patches
    }
    assert set(seen) == {(0, 0.54), (0, 0.49), (1, 0.3)}
    red, blue = seen[0, 0.54], seen[0, 0.49]
    assert red[0] > red[2] and blue[2] > blue[0] and seen[1, 0.3] == blue
    assert [label.get_text() for label in place.get_xticklabels()] == ["PSPNet", "3D V-Net"]
    assert place.get_title(loc="left") == "Dice by architecture and loss; n 24; simulated data"
    assert [text.get_text() for text in place.get_legend().get_texts()] == ["cross-entropy", "focal"]


def test_error_bars_are_one_sd_long() -> None:
    (place,) = architecture_bars(BARS).axes
    spans = {tuple(np.round(segment[:, 1], 6)) for lines in place.collections for segment in lines.get_segments()}
    assert {(0.45, 0.63), (0.38, 0.6)} <= spans


def test_bars_of_different_n_say_both() -> None:
    rows = [{**BARS[0], "n": 20}, BARS[1]]
    assert "n 20 to 24" in architecture_bars(rows).axes[0].get_title(loc="left")


def cases() -> list[dict[str, object]]:
    sizes = {"small": 9.9, "medium": 10.0, "medium too": 50.0, "large": 51.0, "none": 0.0}
    return [
        {"method": method, "lesion_ml_ref": ml, "dsc": dice, "rve": 0.5}
        for method, dice in (("F_o", 0.4), ("real DWI", 0.8))
        for ml in sizes.values()
    ]


def test_cases_fall_into_the_groups_of_the_paper_and_every_one_is_a_dot() -> None:
    dice, error = size_group_boxes(cases(), note="simulated data").axes
    assert [label.get_text() for label in dice.get_xticklabels()] == ["<10 ml\nn 1", "10-50 ml\nn 2", ">50 ml\nn 1"]
    dots = np.concatenate([lines.get_offsets() for lines in dice.collections])
    assert sorted(np.round(dots[:, 1], 6)) == [0.4] * 4 + [0.8] * 4
    assert sorted(np.round(dots[:, 0])) == [0, 0, 1, 1, 1, 1, 2, 2]
    assert dice.get_title(loc="left") == "By size of the reference lesion; n 4; simulated data"
    assert (dice.get_ylabel(), error.get_ylabel()) == ("Dice", "relative volume error")


def test_methods_keep_one_colour_over_all_groups() -> None:
    figure = size_group_boxes(cases())
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for handle, label in zip(handles, labels, strict=True):
        height = {"F_o": 0.4, "real DWI": 0.8}[label]
        own = [c for c in figure.axes[0].collections if np.allclose(c.get_offsets()[:, 1], height)]
        assert len(own) == 3 and all(same_color(c.get_facecolor()[0][:3], handle.get_color()) for c in own)


def test_boxes_without_a_lesion_are_refused_and_undefined_errors_left_out() -> None:
    with pytest.raises(IslesError, match=r"E-REP-11.*\n.*boxes by lesion size\n.*no case with a reference lesion"):
        size_group_boxes([{"method": "m", "lesion_ml_ref": 0, "dsc": 1, "rve": ""}])
    one = {"method": "m", "lesion_ml_ref": "5", "dsc": "0.5", "rve": ""}
    _, error = size_group_boxes([one]).axes
    assert not error.collections
