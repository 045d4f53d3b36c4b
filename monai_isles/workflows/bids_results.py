"""The results of a prediction once more, under BIDS-derivative names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data.bids import derivative_description, derivative_name
from monai_isles.io.publish import publish, publish_json

_FILES = {
    "lesion": "lesion.nii.gz", "probability": "probability.nii.gz", "uncertainty": "uncertainty.nii.gz",
    "result": "result.json", "report": "report.html",
    **{key: f"maps/{key}.nii.gz" for key in ("cbf", "cbv", "mtt", "tmax", "ttp")},
}  # fmt: skip
_ABOUT = ("case", "subject", "fold", "label", "label_values", "resample", "rule_maps")


def publish_bids(out: Path, entries: Sequence[Mapping[str, object]]) -> Path:
    """Copy what ``out/<case>`` holds to ``out/derivatives/monai_isles``, and describe that folder; return it.

    Args:
        entries: flat dictionaries of the predicted cases (``monai_isles.case.Case.entry``).
    Raises:
        IslesError: those of ``publish``.
    Source: names of ``monai_isles.data.bids.derivative_name``; ``tests/workflows/test_bids_results.py``.
    """
    root = out / "derivatives" / "monai_isles"
    publish_json(root / "dataset_description.json", derivative_description())
    for entry in entries:
        images = {key: Path(str(path)) for key, path in entry.items() if key not in _ABOUT}
        case = Case(str(entry["case"]), str(entry["subject"]), images)
        for kind, name in _FILES.items():
            source = out / case.name / name
            if source.is_file():
                publish(root / derivative_name(case, kind), lambda tmp, source=source: shutil.copyfile(source, tmp))
    return root
