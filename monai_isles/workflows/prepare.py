"""Fill the cache of preprocessed cases, in one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_isles.bundle.bundle import Bundle, verbatim
from monai_isles.bundle.configs import case_keys
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import HERE, Place, Record, Task, load_in_process
from monai_isles.data.datalist import find_data_list
from monai_isles.data.entries import find_apart, find_entries, load_entries
from monai_isles.data.remote import fetch_entry, is_url, local_root
from monai_isles.errors import refused
from monai_isles.io.findings import Finding, refuse
from monai_isles.transforms.case_cache import KeptPreparation

TRAINING, PREDICTION = "training", "prediction"


@dataclass(frozen=True)
class Preparation:
    """Hold how a bundle preprocesses the cases of one data folder, and their cache.

    Args:
        folder: of the data, or a URL with a list (``monai_isles.data.remote``).
        use: ``training`` or ``prediction``: the config of the bundle to use.
        data_list: path; a training without one makes one of the folder.
    """

    bundle: Bundle
    folder: str
    use: str
    cache_dir: str
    cache_gb: float | None = None
    data_list: str | None = None

    def config(self) -> ConfigParser:
        """Return the config, judged but not built."""
        config = self.bundle.config("train" if self.use == TRAINING else "inference")
        if self.use == TRAINING:
            if "dataset" not in config["train"]:
                raise refused("E-USE-66", where=f"prepare --for {TRAINING}", found=self.bundle.root.name)
            config["cases"]["keep"] = None
        root, folder = verbatim(self.bundle.root), verbatim(local_root(self.folder))
        listed = self.data_list and verbatim(self.data_list)
        config.update({"bundle_root": root, "dataset_dir": folder, "data_list": listed})
        return config

    def entries(self, *, section: str, left_out: list[Finding] | None = None) -> list[dict[str, object]]:
        """Return the cases of the folder, or of its data list, with the bundle's modalities."""
        config = self.config()
        chosen: dict[str, Any] = {"fetch": False, "left_out": left_out}
        if self.use == PREDICTION:
            chosen |= {"data_list": self.data_list, "section": section if self.data_list else None}
            return find_entries(self.folder, **case_keys(config), **chosen)
        content = find_data_list(local_root(self.folder), self.data_list)
        listed_out = [Finding(**item) for item in content.get("left_out", [])] if self.data_list is None else []
        if left_out is None:
            refuse(listed_out)
        else:
            left_out += listed_out
        return load_entries(content, self.folder, section=section, **_training_keys(config), need_label=True, **chosen)

    def load(self) -> KeptPreparation:
        """Build the preprocessing."""
        made = self.config().get_parsed_content("preprocessing")
        return KeptPreparation(made, cache_dir=self.cache_dir, cache_gb=self.cache_gb)


def _training_keys(config: ConfigParser) -> dict[str, Any]:
    """Return the keys that the training requests from ``load_entries``."""
    data = config["train#dataset#data"]
    data = config[data.removeprefix("@")] if isinstance(data, str) else data
    config["keys_of_training"] = {name: data.get(name, []) for name in ("keys", "optional")}
    config.parse(reset=True)
    return dict(config.get_parsed_content("keys_of_training"))


def prepare(
    folders: Sequence[str | Path],
    bundle: Bundle,
    *,
    use: str,
    cache_dir: Path,
    cache_gb: float | None = None,
    data_list: str | Path | None = None,
    section: str = "training",
    place: Place = HERE,
    strict: bool = False,
) -> dict[str, Any]:
    """Preprocess every case of data folders into the cache; return ``ok``, ``done before`` or ``failed`` by name."""
    listed = None if data_list is None else str(Path(data_list).absolute())
    bundle = replace(bundle, root=bundle.root.absolute())
    preparation = Preparation(bundle, "", use, str(cache_dir.absolute()), cache_gb, listed)
    preparations = {
        str(folder): replace(preparation, folder=str(folder) if is_url(folder) else str(Path(folder).absolute()))
        for folder in folders
    }
    owner: dict[str, Preparation] = {}

    def find(path: str | Path, left_out: list[Finding] | None) -> list[dict[str, object]]:
        result = preparations[str(path)].entries(section=section, left_out=left_out)
        owner.update({str(entry["case"]): preparations[str(path)] for entry in result})
        return result

    preparation.config()
    entries, left = find_apart(folders, find, strict=strict)
    tasks = [Task(name, (owner[name], entry)) for entry in entries for name in [str(entry["case"])]]
    records = run_cases(prepare_one, tasks, **place, title="prepare", strict=strict)
    return {"kind": "preparation", "cases": records | left}


def prepare_one(task: Task) -> Record:
    """Preprocess the case of a task, unless it is already in the cache."""
    options, entry = task.about
    preparation = load_in_process(options)
    entry = fetch_entry(entry)
    if preparation.cache.read(preparation.key(entry)) is not None:
        return {"outcome": "done before"}
    with torch.no_grad():
        preparation(entry)
    return {"outcome": "ok"}
