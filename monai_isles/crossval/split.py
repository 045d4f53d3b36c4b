"""One split of a data list into training, validation and test, by subject."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles.crossval.plan import TEST, TRAINING, VALIDATION, data_folder
from monai_isles.data.datalist import find_data_list
from monai_isles.errors import refused
from monai_isles.io.publish import publish_json

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

SIZES = {VALIDATION: 6, TEST: 23, TRAINING: 65}


def local_split(content: Mapping, *, seed: int = 0) -> dict:
    """Return a copy of a data list whose folds are the parts: 0 validation, 1 test, 2 training.

    A list of 94 scans is split 6, 23, 65 as far as whole subjects allow; a list of another length in proportion,
    rounded, at least one scan a part. Subjects are drawn in the order of a hash of seed and name; who does not fit into
    validation or test any more goes to training. The paper names no patients, so its own split cannot be had.

    Train on it with ``--fold 0 --held_out [1]``, predict fold 1.

    Raises:
        IslesError: ``E-LIST-51`` when there are too few subjects for three parts.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/crossval/test_split.py``.
    """
    cases = list(content.get("training", []))
    sizes: dict[str, int] = {}
    for case in cases:
        sizes[case["subject"]] = sizes.get(case["subject"], 0) + 1
    part = _parts(sizes, wanted_sizes(len(cases)), seed)
    found = [sum(n for name, n in sizes.items() if part[name] == k) for k in (VALIDATION, TEST, TRAINING)]
    if 0 in found:
        raise refused("E-LIST-51", where="local split", found=f"{len(sizes)} subjects in {len(cases)} scans")
    folds = {"count": 3, "seed": seed, "balanced": ["cases"], "parts": ["validation", "test", "training"]}
    return {**content, "folds": folds, "training": [{**case, "fold": part[case["subject"]]} for case in cases]}


def wanted_sizes(scans: int) -> dict[int, int]:
    """Return the scans of each part for a list of this length: 6, 23 and 65 of 94."""
    whole = sum(SIZES.values())
    small = {part: max(1, round(scans * SIZES[part] / whole)) for part in (VALIDATION, TEST)}
    return {**small, TRAINING: scans - sum(small.values())}


def _parts(sizes: Mapping[str, int], wanted: Mapping[int, int], seed: int) -> dict[str, int]:
    part = dict.fromkeys(sizes, TRAINING)
    free = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    for fold in (TEST, VALIDATION):
        left = wanted[fold]
        for name in [name for name in free if part[name] == TRAINING]:
            if sizes[name] <= left:
                part[name], left = fold, left - sizes[name]
    return part


PARTS = ["validation", "test", "training"]


def split_list(config: ConfigParser, out: Path, data: Path | None, listed: Path | None, *, seed: int = 0) -> dict:
    """Return a data list split into three parts, and keep it as ``out/split.json``.

    A list whose ``folds`` say ``"parts": ["validation", "test", "training"]`` is a split already and stays as it is.

    Args:
        config: ``train.json``, whose data folder counts where ``data`` names none.
        listed: data list to split; made from the data folder where it is None.
    Raises:
        IslesError: ``E-LIST-51`` too few subjects, those of ``find_data_list``, ``E-PHAN-04`` no such data folder.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/crossval/test_split.py``.
    """
    content = find_data_list(data_folder(config, data), listed)
    if content.get("folds", {}).get("parts") != PARTS:
        content = local_split(content, seed=seed)
    publish_json(out / "split.json", content)
    return content


def split_counts(content: Mapping) -> tuple[int, int, int]:
    """Return the scans of training, validation and test.

    Raises:
        IslesError: ``E-REPR-34`` when one of the parts is empty.
    """
    folds = [case.get("fold") for case in content["training"]]
    counts = folds.count(TRAINING), folds.count(VALIDATION), folds.count(TEST)
    if 0 in counts:
        raise refused(
            "E-REPR-34",
            where="data list",
            found=f"{counts[0]} scans to train, {counts[1]} to validate, {counts[2]} to test",
        )
    return counts
