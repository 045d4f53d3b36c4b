"""Take studies from the series to every result, each study alone: here, on several processes, or on a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Place, Record, Task, is_spread, kept, stands_elsewhere
from monai_isles.data.study import StudyFiles
from monai_isles.inference.outputs import publish_entropy
from monai_isles.inference.predict import predict_cases
from monai_isles.inference.predictor import Predictor
from monai_isles.io.runs import sweep_parts
from monai_isles.perfusion.trained import TRAINING_MAPS
from monai_isles.progress import quiet
from monai_isles.workflows.measure_study import MeasuredStudy, measure_study
from monai_isles.workflows.predict import Recipe
from monai_isles.workflows.series_results import Wanted, publish_results


@dataclass(frozen=True)
class SeriesWay:
    """Say what becomes of a study.

    Args:
        recipe: of the predictor; each process builds it once.
        wanted: results beside those of every prediction, and the bundle's metadata.
        dt_s: seconds between frames instead of the file's. resample: a plain CT on another grid is in register.
        series: the bundle reads the series itself.
        entropy: write ``entropy.nii.gz`` too.
    """

    recipe: Recipe
    wanted: Wanted
    dt_s: float | None = None
    resample: bool = False
    series: bool = False
    entropy: bool = False

    def measured(self, study: StudyFiles, name: str, device: str) -> MeasuredStudy:
        """Return the study with its maps on disk; what is there of the same source stays."""
        how = {"dt_s": self.dt_s, "resample": self.resample, "series": self.series, "device": device}
        trained = self.wanted.metadata.get(TRAINING_MAPS)
        return measure_study(study, name, Path(self.recipe.out), **how, training_maps=trained)


def predict_studies(
    way: SeriesWay,
    found: Mapping[str, StudyFiles | Record],
    *,
    place: Place,
    predictor: Predictor,
    gpus: int | None = None,
    memory_gb: float = 0.0,
) -> dict[str, Record]:
    """Measure, predict and publish every study; return one record each, in the order of ``found`` wherever they ran.

    What is done of a study stays; a fault is the record of its study and takes no other along.

    Args:
        found: of ``monai_isles.data.study.find_studies``; what was not found keeps its record.
        place: where the studies run; for a cluster or Slurm the paths of ``way.recipe`` are absolute.
        predictor: what ``way.recipe`` builds.
        gpus: that a study needs of its worker; 1 unless told where the predictor stands on one.
        memory_gb: that a study needs of its worker.
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
    done = run_cases(work, tasks, **place, title="series", unit="study")
    sweep_parts(Path(way.recipe.out))
    return {name: done.get(name, one) for name, one in found.items()}


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

        record = predict_cases(predictor, [measured.entry], folder.parent, after=after)[task.case]
        if way.entropy and record["outcome"] != "failed":
            publish_entropy(folder)
        elif record["outcome"] == "ok":
            (folder / "entropy.nii.gz").unlink(missing_ok=True)
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
