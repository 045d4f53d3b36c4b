"""The page of a case just predicted, from the maps in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.io.read import read_image
from monai_isles.reports.page import case_page
from monai_isles.reports.panels import drawn_keys
from monai_isles.reports.views import SYNTHETIC, CaseView
from monai_isles.transforms.resample_like import onto_first

_ARRAYS = ("probability", "uncertainty", "lesion", *SYNTHETIC)


def publish_case_page(
    entry: Mapping[str, object], maps: Mapping[str, Any], result: Mapping[str, object], path: Path
) -> None:
    """Write ``report.html`` of one case; no reference is drawn or scored.

    Drawn are the images that the case has (``drawn_keys``), the maps, and the synthetic images among the maps.

    Shapes: ``maps`` holds ``probability``, ``lesion`` and, where there is one, ``uncertainty`` as (1, H, W, D), and so
    a network's own images (``SYNTHETIC``).
    Source: ours; ``tests/reports/test_predicted.py``.
    """
    images = {key: read_image(str(entry[key]), kind=key) for key in drawn_keys(list(entry))}
    if entry.get("resample") is True:
        images = onto_first(images, case=str(entry["case"]))
    arrays = {key: np.asarray(array[0]) for key, array in maps.items() if key in _ARRAYS}
    first = next(iter(images))
    view = CaseView(
        name=str(entry["case"]),
        images={key: image.data for key, image in images.items()},
        spacing_mm=images[first].spacing_mm,
        probability=arrays["probability"],
        uncertainty=arrays.get("uncertainty"),
        lesion=arrays["lesion"] > 0,
        result=result,
        simulated=any((folder / "SIMULATED.txt").is_file() for folder in list(Path(str(entry[first])).parents)[:4]),
        synthetic={key: arrays[key] for key in SYNTHETIC if key in arrays},
    )
    case_page(view, path)
