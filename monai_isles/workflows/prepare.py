"""Fill the cache of preprocessed cases, on one process or many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from monai_isles.bundle.bundle import Bundle
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Place, Record, Task, kept
from monai_isles.data.datalist import find_data_list
from monai_isles.data.entries import find_entries, load_entries
from monai_isles.data.remote import fetched, local_root
from monai_isles.transforms.case_cache import KeptPreparation

TRAINING, PREDICTION = "training", "prediction"


@dataclass(frozen=True)
class Preparation:
    """Say how a bundle preprocesses the cases of one data folder and where they are kept.

    Args:
        folder: of the data, or a URL with a list (``monai_isles.data.remote``).
        use: ``training`` or ``prediction``: whose config of the bundle.
        overlays: config files inside the bundle.
        data_list: path; training without one makes the folder's own.
        cache_dir, cache_gb: as for ``monai_isles.transforms.KeptPreparation``.
    """

    bundle: str
    folder: str
    use: str
    overlays: tuple[str, ...]
    cache_dir: str
    cache_gb: float | None = None
    data_list: str | None = None

    def config(self) -> ConfigParser:
        """Return the config, judged, nothing built.

        Raises:
            IslesError: ``E-XVAL-01``, ``E-INF-10``, ``E-SAFE-*`` for a bundle that asks for more than it may.
        """
        bundle = Bundle(Path(self.bundle), self.overlays)
        config = bundle.config("train" if self.use == TRAINING else "inference")
        if self.use == TRAINING:
            config["cases"]["keep"] = None
        folder = str(local_root(self.folder))
        config.update({"bundle_root": self.bundle, "dataset_dir": folder, "data_list": self.data_list})
        return config

    def entries(self, *, section: str) -> list[dict[str, object]]:
        """Return the cases of the folder, or of its data list, with what the bundle reads.

        Raises:
            IslesError: those of ``monai_isles.data.find_entries``, ``find_data_list`` and ``load_entries``.
        """
        config = self.config()
        if self.use == PREDICTION:
            chosen = {"data_list": self.data_list, "section": section if self.data_list else None, "fetch": False}
            return find_entries(self.folder, keys=config["modalities"], **chosen)
        content = find_data_list(local_root(self.folder), self.data_list)
        return load_entries(
            content, self.folder, section=section, keys=_training_keys(config), need_label=True, fetch=False
        )

    def load(self) -> KeptPreparation:
        """Build the preprocessing."""
        made = self.config().get_parsed_content("preprocessing")
        return KeptPreparation(made, cache_dir=self.cache_dir, cache_gb=self.cache_gb)


def _training_keys(config: ConfigParser) -> list[str]:
    """Return the keys that the training itself asks of ``load_entries``."""
    data = config["train#dataset#data"]
    data = config[data.removeprefix("@")] if isinstance(data, str) else data
    config["keys_of_training"] = data["keys"]
    config.parse(reset=True)
    return list(config.get_parsed_content("keys_of_training"))


def prepare_cohort(
    cases: Sequence[tuple[Preparation, Mapping[str, object]]],
    *,
    place: Place,
    gpus: int = 0,
    memory_gb: float = 0.0,
) -> dict[str, Record]:
    """Preprocess every case into its cache and return one record a case: ``ok``, ``done before`` or ``failed``.

    Args:
        cases: how each is preprocessed, and its entry.
        gpus, memory_gb: that a case needs of its worker.
    Raises:
        IslesError: those of ``monai_isles.cohort.run_cases``.
    Source: ours; ``tests/cli/test_prepare.py``.
    """
    tasks = [Task(str(entry["case"]), (how, dict(entry)), gpus, memory_gb) for how, entry in cases]
    return run_cases(prepare_one, tasks, **place, title="prepare")


def prepare_one(task: Task) -> Record:
    """Preprocess the case of a task, unless it is in the cache, whole."""
    how, entry = task.about
    preparation = kept(how, how.load)
    entry = fetched(entry)
    if preparation.cache.read(preparation.key(entry)) is not None:
        return {"outcome": "done before"}
    with torch.no_grad():
        preparation(entry)
    return {"outcome": "ok"}
