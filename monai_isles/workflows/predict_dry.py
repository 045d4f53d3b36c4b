"""Check everything of a prediction before the network, without writing: ``predict --dry-run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from monai_isles.bundle.bundle import Bundle
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import HERE, Record, Task
from monai_isles.data.study import find_studies, read_study
from monai_isles.inference.outputs import require_own_names
from monai_isles.inference.predictor import UNCHANGED, Choices, Predictor, load_predictor
from monai_isles.inference.windows import StepSlidingWindowInferer
from monai_isles.io.grid import require_one_grid
from monai_isles.io.read import read_image
from monai_isles.io.reader import LoadVerifiedd
from monai_isles.io.runs import judge_folder
from monai_isles.modalities import LABEL
from monai_isles.transforms.grid import SameGridd
from monai_isles.workflows.perfusion import run_studies
from monai_isles.workflows.predict import Find, found_entries, is_predicted, prediction_record, prediction_stamp
from monai_isles.workflows.predict_series import require_given

_READS = (LoadVerifiedd, LoadImaged, SameGridd)


def rehearse(find: Find, out: Path, *, bundle: Bundle, choices: Choices = UNCHANGED) -> dict[str, Any]:
    """Check everything that ``predict`` would read: configs, weights, the output folder, every image.

    A record has ``outcome``: ``ready``, ``done before`` (its result is there) or ``failed``; a ready case also
    ``shape`` and ``spacing_mm`` of its grid and, for a bundle that predicts by windows, ``windows_at_most``.
    """
    config = bundle.config("inference")
    changes = choices.changes(config.get(), bundle)
    entries, left = found_entries(find, bundle, fetch=True)
    predictor = load_predictor(bundle, out, weights=choices.weights, device=choices.device, changes=changes)
    judge_folder(out, outputs=[f"{entry['case']}/probability.nii.gz" for entry in entries])

    def read(task: Task) -> Record:
        entry, folder = task.about, out / task.case
        require_own_names(predictor.postprocessing, entry, folder)
        done = is_predicted(folder, prediction_stamp(predictor, entry))
        return {"outcome": "done before"} if done else {"outcome": "ready", **_read(predictor, entry)}

    records = run_cases(read, [Task(str(entry["case"]), entry) for entry in entries], title="reading")
    return prediction_record("dry run", predictor, records | left)


def rehearse_series(
    paths: Sequence[str | Path],
    out: Path,
    *,
    bundle: Bundle,
    choices: Choices = UNCHANGED,
    series: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Check everything that ``predict_series`` would read; ``options`` are those of ``read_study``."""
    config = bundle.config("inference")
    changes = choices.changes(config.get(), bundle)
    require_given(config["modalities"], bundle)
    predictor = load_predictor(bundle, out, weights=choices.weights, device=choices.device, changes=changes)
    judge_folder(out)

    def read(task: Task) -> Record:
        images = read_study(task.about, **options)
        series = images.series
        return {
            "outcome": "ready",
            "modalities": ["ctp", *(["ct"] if images.plain_ct is not None else [])],
            "frames": len(series.array),
            "seconds_of_scan": round(float(series.times_s[-1] - series.times_s[0]), 2),
            "shape": list(series.array.shape[1:]),
            "spacing_mm": [round(float(item), 4) for item in series.like.spacing_mm],
            "notes": list(images.notes),
        }

    found = find_studies(paths, series=series)
    records = run_studies(read, found, place=HERE, title="reading", unit="study")
    return prediction_record("dry run", predictor, records)


def _read(predictor: Predictor, entry: Mapping[str, object]) -> dict[str, object]:
    """Run the bundle's own transforms up to the last that reads or compares grids; read the other files."""
    data: Mapping[str, Any] = {key: value for key, value in entry.items() if key != LABEL}
    transforms = list(getattr(predictor.preprocessing, "transforms", ()))
    last = max((n for n, transform in enumerate(transforms) if isinstance(transform, _READS)), default=-1)
    for transform in transforms[: last + 1]:
        data = transform(data)
    images = {key: data[key] for key in predictor.modalities if isinstance(data.get(key), MetaTensor)}
    for key in (key for key in predictor.modalities if key not in images and key in entry):
        image = read_image(str(entry[key]), kind=key, where=str(entry["case"]))
        images[key] = MetaTensor(torch.from_numpy(image.data[None]), affine=torch.from_numpy(image.affine))
    grids = {key: (np.asarray(image.affine, float), tuple(image.shape[-3:])) for key, image in images.items()}
    require_one_grid(grids, case=str(entry["case"]))
    (affine, shape), inferer = next(iter(grids.values())), predictor.inferer
    spacing = [round(float(item), 4) for item in np.linalg.norm(affine[:3, :3], axis=0)]
    facts: dict[str, object] = {"modalities": list(images), "shape": list(shape), "spacing_mm": spacing}
    if isinstance(inferer, StepSlidingWindowInferer):
        reach = inferer.roi if inferer.cover == "touch" else (0, 0, 0)
        counts = [-(-(n + r) // s) + (s > 1) for n, r, s in zip(shape, reach, inferer.step, strict=True)]
        facts["windows_at_most"] = int(np.prod(counts))
    return facts
