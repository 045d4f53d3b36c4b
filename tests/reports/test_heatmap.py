"""The heat map holds every score and frames the chosen pair."""

from __future__ import annotations

import numpy as np

from monai_isles.reports.canvas import png_bytes
from monai_isles.reports.figures import search_heatmap


def test_every_score_is_written_in_its_place_and_the_choice_is_framed() -> None:
    scores = np.array([[0.1, 0.2, 0.3], [0.4, 0.35, 0.25]])  # two thresholds, three sizes
    figure = search_heatmap(scores, (0.1, 0.2), (10, 50, 500), (0.2, 50), title="phantom, 6 maps")
    place = figure.axes[0]
    texts = {text.get_position(): text.get_text() for text in place.texts}
    assert texts[0, 2] == "0.300" and texts[1, 1] == "0.350" and len(texts) == 6
    (frame,) = place.lines
    assert (frame.get_xdata().mean().round(), frame.get_ydata().mean().round()) == (1, 1)
    assert [label.get_text() for label in place.get_yticklabels()] == ["10", "50", "500"]
    assert place.get_title(loc="left") == "phantom, 6 maps" and len(png_bytes(figure)) < 80_000
