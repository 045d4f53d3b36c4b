"""Predict the cases of a cohort on several processes or machines, the networks loaded once in each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_isles.bundle.bundle import Bundle
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Place, Record, Task, is_spread, kept
from monai_isles.inference.predict import After, predict_cases
from monai_isles.inference.predictor import Predictor, load_predictor
from monai_isles.io.runs import sweep_parts
from monai_isles.transforms.case_cache import KeptPreparation


@dataclass(frozen=True)
class Recipe:
    """Say how a process builds the predictor that this one built.

    Args:
        bundle, overlays, settings: of ``Bundle``; ``settings`` and ``changes`` as JSON text.
        out, weights, device, changes: as for ``load_predictor``.
        cache_dir, cache_gb: keep preprocessed cases there, as ``monai_isles.transforms.KeptPreparation`` does.
        after: as for ``predict_cases``; a function of a module, or ``functools.partial`` of one.
        content: checksum of configs and weights: a worker that lives on builds the predictor anew when they changed.
    """

    bundle: str
    out: str
    overlays: tuple[str, ...] = ()
    settings: str = "{}"
    weights: tuple[str, ...] = ()
    device: str = "auto"
    changes: str = "{}"
    cache_dir: str | None = None
    cache_gb: float | None = None
    after: After | None = field(default=None, compare=False)
    content: str = ""

    def load(self) -> Predictor:
        """Build the networks and load their weights."""
        predictor = load_predictor(
            Bundle.open(self.bundle, overlays=self.overlays, settings=json.loads(self.settings)),
            Path(self.out),
            weights=[Path(path) for path in self.weights],
            device=self.device,
            changes=json.loads(self.changes),
        )
        if self.cache_dir is None:
            return predictor
        kept = KeptPreparation(predictor.preprocessing, cache_dir=self.cache_dir, cache_gb=self.cache_gb)
        return replace(predictor, preprocessing=kept)


def recipe_of(
    bundle: Bundle | Path | str,
    out: Path,
    *,
    weights: Sequence[Path] = (),
    device: str = "auto",
    changes: Mapping[str, object] | None = None,
    cache_dir: str | Path | None = None,
    cache_gb: float | None = None,
    after: After | None = None,
    elsewhere: bool = True,
) -> Recipe:
    """Return the recipe of a predictor; ``elsewhere``: its paths absolute, a worker may stand in another folder."""
    bundle = Bundle.open(bundle)
    spelled = (lambda path: str(Path(path).absolute())) if elsewhere else str
    return Recipe(
        bundle=spelled(bundle.root),
        out=spelled(out),
        overlays=bundle.overlays,
        settings=json.dumps(dict(bundle.settings), sort_keys=True),
        weights=tuple(map(spelled, weights)),
        device=device,
        changes=json.dumps(dict(changes or {}), sort_keys=True),
        cache_dir=None if cache_dir is None else spelled(cache_dir),
        cache_gb=cache_gb,
        after=after,
        content=bundle.fingerprint(weights),
    )


def predict_cohort(
    recipe: Recipe,
    entries: Sequence[Mapping[str, object]],
    *,
    place: Place,
    predictor: Predictor | None = None,
    gpus: int | None = None,
    memory_gb: float = 0.0,
) -> dict[str, Record]:
    """Predict every entry as ``predict_cases`` does, with the same records and files, wherever ``place`` says.

    Args:
        predictor: what ``recipe`` builds, where this process has it already.
        gpus: that a case needs of its worker; 1 unless told where the predictor stands on one.
        memory_gb: that a case needs of its worker.
    Raises:
        IslesError: those of ``load_predictor`` and ``monai_isles.cohort.run_cases``.
    Source: ours; ``tests/workflows/test_predict.py``.
    """
    out = Path(recipe.out)
    if not is_spread(place):
        return predict_cases(predictor or recipe.load(), entries, out, after=recipe.after)
    if gpus is None:
        gpus = int(predictor is not None and predictor.device.type == "cuda")
    tasks = [Task(str(entry["case"]), (recipe, dict(entry)), gpus, memory_gb) for entry in entries]
    records = run_cases(predict_one, tasks, **place, title="predict")
    sweep_parts(out)
    return records


def predict_one(task: Task) -> Record:
    """Predict the case of a task with the predictor that this process keeps."""
    recipe, entry = task.about
    predictor = kept(recipe, recipe.load)
    return predict_cases(predictor, [entry], Path(recipe.out), after=recipe.after)[task.case]
