"""Export a data list as an nnU-Net v2 data set with its folds, so that both use the same split."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.case import RESAMPLE
from monai_isles.data.datalist import read_datalist
from monai_isles.data.entries import load_entries
from monai_isles.errors import IslesError, refused
from monai_isles.io.case_images import read_case_images
from monai_isles.io.findings import Finding, as_error, as_finding, refuse
from monai_isles.io.publish import folder_aside, publish_image, publish_json
from monai_isles.io.read import require_same_grid
from monai_isles.io.runs import judge_folder
from monai_isles.modalities import CT_CHANNELS, LABEL, LABEL_VALUES, MODALITIES
from monai_isles.progress import progress
from monai_isles.transforms.grid import onto_first

ENDING = ".nii.gz"


@dataclass(frozen=True)
class NnunetDataset:
    """Hold a written data set: its folder, its numbers of cases and folds, and the reasons for cases left out."""

    folder: Path
    training: int
    test: int
    folds: int
    left_out: dict[str, str]


def export_nnunet(
    data_list: str | Path,
    dataset_dir: str | Path,
    out: str | Path,
    *,
    number: int = 501,
    name: str | None = None,
    modalities: Sequence[str] | None = None,
) -> NnunetDataset:
    """Write ``<out>/Dataset<number>_<name>`` for nnU-Net v2: images, labels, ``dataset.json``, ``splits_final.json``.

    The channels are CT and its maps; in a list of MRI, the still images that most cases have. Images keep their values
    and their grid; the channels of a case lie on one grid. ``splits_final.json`` holds the list's folds, which never
    split a subject; nnU-Net looks for it in ``nnUNet_preprocessed/Dataset<number>_<name>``. A channel named CT is
    normalised by nnU-Net as CT, every other one by its z-score. A case that lacks an image or cannot be read is left
    out.

    Args:
        number: 1 to 999, unique among nnU-Net's data sets.
        name: letters, digits, ``_`` and ``-``; default the list's name.
    Source: nnU-Net v2's dataset format and manual data splits; ``tests/export/test_nnunet.py``.
    """
    content = read_datalist(data_list, dataset_dir)
    name = name or str(content.get("name") or "isles")
    if not 1 <= number <= 999 or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise refused("E-NNU-03", where=f"Dataset{number}_{name}", found=f"number {number}, name {name!r}")
    target = Path(out) / f"Dataset{number:03d}_{name}"
    if target.exists():
        raise refused("E-NNU-01", where=str(target), found="a file or folder of this name")
    judge_folder(target)
    _splits(content)
    keys = _channels(content, modalities)
    left: list[Finding] = []
    entries = {"Tr": load_entries(content, dataset_dir, keys=keys, need_label=True, left_out=left), "Ts": []}
    if content.get("test"):
        entries["Ts"] = load_entries(content, dataset_dir, section="test", keys=keys, need_label=False, left_out=left)
    with folder_aside(target) as aside:
        written = {}
        for section, own in entries.items():
            (aside / f"images{section}").mkdir(parents=True)
            listed = progress(own, f"images{section}")
            written[section] = [entry for entry in listed if _write(entry, keys, aside, section, left)]
        if not written["Tr"]:
            refuse(left)
        splits = _splits({"training": written["Tr"]})
        named = {str(channel): "Tmax" if key == "tmax" else key.upper() for channel, key in enumerate(keys)}
        description = {
            "channel_names": named, "labels": {"background": 0, "lesion": 1}, "numTraining": len(written["Tr"]),
            "file_ending": ENDING, "name": content.get("name"), "description": content.get("description"),
            "simulated": bool(content.get("simulated")),
        }  # fmt: skip
        publish_json(aside / "dataset.json", description)
        publish_json(aside / "splits_final.json", list(splits))
        os.replace(aside, target)
    reasons = {item.case: str(as_error(item)) for item in left}
    return NnunetDataset(target, len(written["Tr"]), len(written["Ts"]), len(splits), reasons)


def _channels(content: Mapping[str, Any], modalities: Sequence[str] | None) -> list[str]:
    """Return the chosen channels, else CT and its maps, else the still MRI that most cases have."""
    entries = [*(content.get("training") or []), *(content.get("test") or [])]
    if modalities is None and any(entry.get("ct") for entry in entries):
        return list(CT_CHANNELS)  # a DWI in such a list was taken later, and the mask drawn on it
    still = [key for key, item in MODALITIES.items() if not item.time_series]
    cases = {key: sum(bool(entry.get(key)) for entry in entries) for key in still}
    most = [key for key in still if 2 * cases[key] > len(entries)]
    chosen = most if modalities is None else list(modalities)
    if not chosen or not all(cases.get(key) for key in chosen):
        found = f"requested {', '.join(modalities or ['none'])}; in most cases {', '.join(most)}"
        raise refused("E-NNU-04", where=str(content.get("name")), found=found)
    return chosen


def _write(
    entry: Mapping[str, Any], channels: Sequence[str], folder: Path, section: str, left_out: list[Finding]
) -> bool:
    """Write the images of a case, unless one cannot be read; return whether they were written."""
    case, values = str(entry["case"]), entry.get(LABEL_VALUES)
    keys = [*channels, *([LABEL] if section == "Tr" else [])]
    try:
        images = read_case_images({key: str(entry[key]) for key in keys}, case=case, label_values=values)
        images = onto_first(images, case=case) if entry.get(RESAMPLE) is True else images
        require_same_grid(images, case=case)
    except IslesError as error:
        left_out.append(replace(as_finding(error), case=case))
        return False
    for channel, key in enumerate(channels):
        path = folder / f"images{section}" / f"{case}_{channel:04d}{ENDING}"
        publish_image(path, images[key].data, images[key], dtype=np.float32)
    if LABEL in images:
        publish_image(folder / "labelsTr" / f"{case}{ENDING}", images[LABEL].data, images[LABEL], dtype=np.uint8)
    return True


def _splits(content: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    entries: Sequence[Mapping[str, Any]] = content.get("training") or []
    folds = sorted({entry["fold"] for entry in entries if entry.get("fold") is not None})
    without = [str(entry["case"]) for entry in entries if entry.get("fold") is None]
    if without or len(folds) < 2:
        found = f"folds {folds}; {len(without)} cases without one: {', '.join(without[:6])}"
        raise refused("E-NNU-02", where="training section", found=found)
    parts = {fold: [str(entry["case"]) for entry in entries if entry["fold"] == fold] for fold in folds}
    names = [str(entry["case"]) for entry in entries]
    return [{"train": [name for name in names if name not in part], "val": part} for part in parts.values()]
