"""The page of a case just predicted, from the maps in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.io import read_image
from monai_isles.reports.page import case_page
from monai_isles.reports.views import CaseView

_DRAWN = ("ct", "dwi", "cbf", "tmax")


def publish_case_page(
    entry: Mapping[str, object], maps: Mapping[str, Any], result: Mapping[str, object], path: Path
) -> None:
    """Write ``report.html`` of one case; no reference is drawn or scored.

    Shapes: ``maps`` holds ``probability``, ``uncertainty`` and ``lesion`` as (1, H, W, D).
    Source: ours; ``tests/inference/test_predict.py``.
    """
    images = {key: read_image(str(entry[key]), kind=key) for key in _DRAWN if key in entry}
    arrays = {key: np.asarray(maps[key][0]) for key in ("probability", "uncertainty", "lesion")}
    view = CaseView(
        name=str(entry["case"]),
        images={key: image.data for key, image in images.items()},
        spacing_mm=images["ct"].spacing_mm,
        probability=arrays["probability"],
        uncertainty=arrays["uncertainty"],
        lesion=arrays["lesion"] > 0,
        result=result,
        simulated=any((folder / "SIMULATED.txt").is_file() for folder in list(Path(str(entry["ct"])).parents)[:4]),
    )
    case_page(view, path)
