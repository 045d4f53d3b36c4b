"""What a search chose is read whole or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.inference.predictor import read_postprocessing


def test_the_chosen_pair_is_read(tmp_path: Path) -> None:
    path = tmp_path / "postprocessing.json"
    path.write_text('{"threshold": 0.3, "min_size_vox": 100, "min_size_mm3": 812.5}')
    assert read_postprocessing(path) == {"threshold": 0.3, "min_size_vox": 100}


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"threshold": 0.3}'])
def test_anything_else_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "postprocessing.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(IslesError, match="E-INF-13(?s:.*)postprocessing.json"):
        read_postprocessing(path)
