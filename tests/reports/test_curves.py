"""Where artery and vein were taken, and how the head moved, as the page draws them."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from monai_isles.reports.canvas import blank, pixels, png_bytes
from monai_isles.reports.curves import motion_curves, training_curves, vessel_places
from monai_isles.reports.views import CaseView


def _view(**more: object) -> CaseView:
    return CaseView("c", {"ct": np.full((8, 10, 4), 30.0)}, (1, 1, 5), None, None, np.zeros((8, 10, 4), bool), **more)


def test_vessel_voxels_are_marked_where_they_lie_on_the_screen() -> None:
    """RAS+ voxel (1, 2) of an 8 x 10 plane lies at column 8 - 1 - 1 and row 10 - 1 - 2; the fullest slice is shown."""
    artery = np.array([[1, 2, 3], [2, 2, 3], [5, 5, 0]])
    figure = vessel_places(_view(record={"aif_vox": artery.tolist(), "vof_vox": [[4, 9, 1]]}))
    first, second = (axes for axes in figure.axes if axes.images)
    (line,) = first.lines
    assert np.column_stack(line.get_data()).tolist() == [[6, 7], [5, 7]]
    assert first.get_title() == "artery (AIF): slice 4, 2 of 3 voxels"
    assert second.get_title() == "vein (VOF): slice 2, 1 of 1 voxels"
    assert to_hex(second.lines[0].get_color()) != to_hex(line.get_color())


def test_movement_is_drawn_in_seconds_with_its_units() -> None:
    path = np.array([[0.0, 0.0, 0.0], [0.5, -0.2, 1.0], [0.4, -0.1, 0.5]])
    (place,) = motion_curves(path, 1.5).axes
    lines = {line.get_label(): line for line in place.lines}
    assert list(lines) == ["to the right, mm", "to the front, mm", "turn to the left, degrees"]
    assert lines["to the front, mm"].get_xdata().tolist() == [0.0, 1.5, 3.0]
    assert lines["to the front, mm"].get_ydata().tolist() == [0.0, -0.2, -0.1]


def test_a_few_coloured_voxels_on_grey_keep_their_colour_in_the_file() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (300, 300, 1)).repeat(3, axis=2)
    grey[100:104, 100:104] = (224, 48, 58)
    figure = blank(3, 3)
    figure.figimage(grey.astype(np.uint8))
    drawn = np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB")).astype(int)
    assert (np.abs(drawn - (224, 48, 58)).max(axis=2) < 30).sum() == 16


def test_a_figure_without_background_is_drawn_on_white_with_its_opacity() -> None:
    figure = blank(1, 1)
    figure.add_artist(Rectangle((0, 0), 1, 0.5, color="black", alpha=0.2))
    drawn = pixels(figure)
    assert drawn[10, 50].tolist() == [255] * 3 and drawn[90, 50].tolist() == [204] * 3  # 255 (1 - 0.2)


def test_epochs_without_validation_do_not_break_the_curve() -> None:
    curves = [{"epoch": n, "train_loss": 1.0 / n, "val_loss": np.nan if n % 2 else 2.0 / n} for n in range(1, 7)]
    (place,) = training_curves(curves).axes[:1]
    drawn = {line.get_label(): line.get_xdata().tolist() for line in place.lines}
    assert drawn["training"] == [1, 2, 3, 4, 5, 6] and drawn["validation"] == [2, 4, 6]


def test_a_single_epoch_has_no_fractions_of_an_epoch() -> None:
    place = training_curves([{"epoch": 1, "train_loss": 1.0}]).axes[0]
    assert all(tick == round(tick) for tick in place.get_xticks())
