"""Take studies from the series to every result, here or on a cluster; if one fails, the others still run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from monai_isles.bundle.bundle import Bundle
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import HERE, Place, Record, Task, is_spread, kept, stands_elsewhere
from monai_isles.data.study import StudyFiles, find_studies
from monai_isles.errors import refused
from monai_isles.inference.outputs import publish_bids
from monai_isles.inference.predictor import UNCHANGED, Choices, Predictor
from monai_isles.io.clock import Asked
from monai_isles.io.runs import RunFolder, sweep_parts
from monai_isles.progress import quiet
from monai_isles.workflows.measure_study import MeasuredStudy, maps_of, measure_study
from monai_isles.workflows.predict import Recipe, predict_cases, prediction_record, recipe_of, settle_entropy
from monai_isles.workflows.series_results import Wanted, publish_results

_GIVEN = ("ct", "cbf", "cbv", "mtt", "tmax", "ttp", "ctp")


def predict_series(
    paths: Sequence[str | Path],
    out: Path,
    *,
    bundle: Bundle,
    choices: Choices = UNCHANGED,
    wanted: Wanted | None = None,
    dt_s: Asked = None,
    resample: bool = False,
    series: str | None = None,
    entropy: bool = False,
    bids: bool = False,
    place: Place = HERE,
    gpus: int | None = None,
    memory_gb: float = 0.0,
    strict: bool = False,
) -> dict[str, Any]:
    """Measure and predict every study into ``out/<study>`` and return what ``out/run.json`` says of them.

    Args:
        paths: DICOM folders, 4D NIfTI files, or folders with one.
        wanted: results beside those of every prediction; the bundle's metadata are filled in.
        series: UID or number of the DICOM series, where a folder holds several.
        dt_s, resample, entropy: as for ``SeriesWay``. bids: also write a BIDS derivative tree.
        gpus, memory_gb: that a study needs of its worker. strict: stop at the first study that fails.
    Raises:
        IslesError: ``E-SCAN-04`` a bundle that reads what a series does not give, and those of ``predict_studies`` and
            ``RunFolder``.
    Source: ours; ``tests/cli/test_predict_series.py``.
    """
    config = bundle.config("inference")
    changes, modalities = choices.changes(config.get(), bundle), config["modalities"]
    require_given(modalities, bundle)
    recipe = recipe_of(bundle, out, choices=choices, changes=changes, elsewhere=stands_elsewhere(place))
    predictor = recipe.load()
    metadata = bundle.metadata_of(list(predictor.weights.values()))
    wanted = replace(wanted or Wanted(), metadata=metadata)
    way = SeriesWay(recipe, wanted, dt_s=dt_s, resample=resample, series="ctp" in modalities, entropy=entropy)
    found = find_studies(paths, series=series)
    with RunFolder(out) as held:
        records = predict_studies(
            way, found, place=place, predictor=predictor, gpus=gpus, memory_gb=memory_gb, strict=strict
        )
        if bids:
            done = [name for name, one in records.items() if one["outcome"] != "failed"]
            publish_bids(out, [maps_of(name, out, series=way.series) for name in done])
        held.finish(record := prediction_record("prediction from series", predictor, records))
    return record


def require_given(modalities: Sequence[str], bundle: Bundle) -> None:
    """Refuse a bundle that reads what a series does not give.

    Raises:
        IslesError: ``E-SCAN-04``.
    """
    missing = [key for key in modalities if key not in _GIVEN]
    if missing:
        raise refused("E-SCAN-04", where=str(bundle.root), found=", ".join(missing))


@dataclass(frozen=True)
class SeriesWay:
    """Say what becomes of a study.

    Args:
        recipe: of the predictor; each process builds it once.
        wanted: results beside those of every prediction, and the bundle's metadata.
        dt_s: seconds between frames, or the time of each, instead of the file's.
        resample: a plain CT on another grid is in register.
        series: the bundle reads the series itself.
        entropy: write ``entropy.nii.gz`` too.
    """

    recipe: Recipe
    wanted: Wanted
    dt_s: Asked = None
    resample: bool = False
    series: bool = False
    entropy: bool = False

    def measured(self, study: StudyFiles, name: str, device: str) -> MeasuredStudy:
        """Return the study with its maps on disk; what is there of the same source stays."""
        return measure_study(
            study, name, self.recipe.out, dt_s=self.dt_s, resample=self.resample, series=self.series, device=device
        )


def predict_studies(
    way: SeriesWay,
    found: Mapping[str, StudyFiles | Record],
    *,
    place: Place,
    predictor: Predictor,
    gpus: int | None = None,
    memory_gb: float = 0.0,
    strict: bool = False,
) -> dict[str, Record]:
    """Measure, predict and publish every study; return one record each, in the order of ``found`` wherever they ran.

    What is done of a study stays; a fault is the record of its study alone.

    Args:
        found: of ``monai_isles.data.study.find_studies``; what was not found keeps its record.
        place: where the studies run; for a cluster or Slurm the paths of ``way.recipe`` are absolute.
        predictor: what ``way.recipe`` builds.
        gpus: that a study needs of its worker; 1 unless told where the predictor stands on one.
        memory_gb: that a study needs of its worker.
        strict: stop at the first study that fails.
    Raises:
        IslesError: those of ``monai_isles.cohort.run_cases``.
    Source: ours; ``tests/cli/test_predict_series_workers.py``.
    """
    if gpus is None:
        gpus = int(predictor.device.type == "cuda")
    studies = {name: one for name, one in found.items() if isinstance(one, StudyFiles)}
    if stands_elsewhere(place):
        studies = {name: one.absolute() for name, one in studies.items()}
    tasks = [Task(name, (way, study), gpus, memory_gb) for name, study in studies.items()]
    work = study_done if is_spread(place) else partial(study_done, predictor=predictor)
    done = run_cases(work, tasks, **place, title="series", unit="study", strict=strict)
    sweep_parts(Path(way.recipe.out))
    return {name: done[name] if isinstance(one, StudyFiles) else one for name, one in found.items()}


def study_done(task: Task, predictor: Predictor | None = None) -> Record:
    """Do the study of a task with the given predictor, or with the one that this process keeps."""
    way, study = task.about
    predictor = predictor or kept(way.recipe, way.recipe.load)
    folder = Path(way.recipe.out) / task.case
    with quiet():
        measured = way.measured(study, task.case, str(predictor.device))
        _forget_unfinished(folder, way.wanted.files(measured), way.wanted.show_patient)

        def after(entry: Mapping[str, object], maps: Mapping[str, object], result: dict[str, object]) -> None:
            publish_results(measured, maps, result, folder, way.wanted)

        record = predict_cases(predictor, [measured.entry], folder.parent, after=after, strict=True)[task.case]
        settle_entropy(folder, record, wanted=way.entropy)
    return record


def _forget_unfinished(folder: Path, files: Sequence[str], patient: bool) -> None:
    """Take the mark of being done from a case that lacks a result now wanted."""
    mark = folder / "result.json"
    try:
        shown = json.loads(mark.read_bytes()).get("patient_shown") == patient
    except (OSError, ValueError, AttributeError):
        shown = True
    if not shown or not all((folder / name).is_file() for name in files):
        mark.unlink(missing_ok=True)
