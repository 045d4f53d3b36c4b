"""Plan a cross-validation or a split: decide and check everything before any work, equally on every restart."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles.bundle.bundle import INFERENCE, TRAIN, Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.data.datalist import find_data_list
from monai_isles.errors import refused
from monai_isles.io.findings import Finding, as_error, refuse
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_json
from monai_isles.progress import progress

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

PLAN, DATA_LIST = "crossval.json", "data_list.json"
PAPER, NESTED, SPLIT = "paper", "nested", "split"
VALIDATION, TEST, TRAINING = 0, 1, 2
PARTS, SPLIT_SIZES = ["validation", "test", "training"], {VALIDATION: 6, TEST: 23, TRAINING: 65}


@dataclass(frozen=True)
class Plan:
    """Hold everything that affects the result of a cross-validation.

    Args:
        protocol: ``paper``: a fold's own scored scans decide when its training stops; ``nested``: the next fold does,
            and the scored scans are not used; ``split``: one training on the part ``TRAINING`` of a list of three
            parts, stopped by ``VALIDATION``, scored on ``TEST``, which is not used otherwise.
        cases: names of the scored cases by fold.
        fingerprints: SHA-256 of configs, data list and every input file.
        left_out: reasons for cases of the list that are neither trained on nor scored, by name.
        sizes_vox: smallest lesions for ``search``, where the bundle states any; it may be gone by then.
    """

    bundle: str
    dataset_dir: str
    protocol: str
    folds: tuple[int, ...]
    cases: dict[int, list[str]]
    overlays: tuple[str, ...]
    settings: dict[str, object]
    modalities: tuple[str, ...]
    max_epochs: int
    data_name: str
    simulated: bool
    fingerprints: dict[str, object]
    left_out: dict[str, str] = field(default_factory=dict)
    sizes_vox: tuple[int, ...] = ()

    def open_bundle(self) -> Bundle:
        """Return the bundle with the plan's overlays and settings."""
        return Bundle(Path(self.bundle), self.overlays, self.settings)

    def stopping_fold(self, fold: int) -> int:
        """Return the fold whose scans decide when the training for ``fold`` stops."""
        if self.protocol == PAPER:
            return fold
        if self.protocol == SPLIT:
            return VALIDATION
        return self.folds[(self.folds.index(fold) + 1) % len(self.folds)]

    def held_out_folds(self, fold: int) -> list[int]:
        """Return the folds that the training for ``fold`` must not use, besides the stopping fold."""
        return [] if self.protocol == PAPER else [fold]

    def record(self) -> dict[str, object]:
        """Return the plan as JSON data."""
        return json.loads(json.dumps(self.__dict__))


def read_plan(folder: Path) -> Plan | None:
    """Return the plan of a cross-validation folder, None without one."""
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        plan = Plan(**json.loads(path.read_text(encoding="utf-8")))
        cases = {int(fold): list(names) for fold, names in plan.cases.items()}
        sequences = {name: tuple(getattr(plan, name)) for name in ("folds", "overlays", "modalities", "sizes_vox")}
        return Plan(**{**plan.__dict__, **sequences, "cases": cases})
    except (ValueError, TypeError, AttributeError) as error:
        raise refused("E-XVAL-08", where=str(path), found=str(error)) from error


def make_plan(
    bundle: Bundle | Path | str,
    *,
    data_list: str | Path | None = None,
    dataset_dir: str | Path | None = None,
    folds: int | None = None,
    protocol: str = PAPER,
    strict: bool = False,
) -> tuple[Plan, dict]:
    """Return the plan and its data list after every check that is possible before the work.

    Args:
        data_list, dataset_dir: by default a list made from the data folder, which is that of the bundle's config.
        folds: of a list to be made (by default the config's or its layout's); with a list it must be the list's own.
    """
    from monai_isles.data.entries import load_entries
    from monai_isles.training.run_options import judge_settings

    source = Bundle.open(bundle)
    config = source.config("train")
    judge_settings(config, Bundle(source.root).config("train").get(), "--set ")
    root = data_folder(config, dataset_dir)
    own = {key: config.get_parsed_content(f"cases#{key}") for key in ("target", "folds") if f"cases#{key}" in config}
    content = find_data_list(root, data_list, **own | ({"folds": folds} if folds else {}))
    _folds(content, folds, protocol)
    modalities = tuple(config["modalities"])
    left = [Finding(**item) for item in content.get("left_out", [])] if data_list is None else []
    if strict:
        refuse(left)
    wanted = case_keys(config)
    entries = load_entries(content, root, **wanted, need_label=True, left_out=None if strict else left)
    if not entries:
        refuse(left)
    listed = {entry["case"] for entry in entries}
    content = content | {"training": [item for item in content["training"] if item["case"] in listed]}
    chosen = _folds(content, None, protocol)  # a fold of which nothing is left is neither trained nor scored
    keys = (*modalities, "label")
    inputs = {
        str(entry["case"]): {key: sha256_of(Path(str(entry[key]))) for key in keys if key in entry}
        for entry in progress(entries, "checking inputs")
    }
    for key in [key for key in modalities if all(key in entry for entry in entries)][:1]:
        _require_apart(entries, inputs, key)
    files = [source.file(name) for name in (TRAIN, INFERENCE, *(name for name in source.overlays if "." in name))]
    configs = {path.name: sha256_of(path) for path in files}
    configs |= {name: digest_of(source.overlay(name)) for name in source.overlays if "." not in name}
    listing = {key: value for key, value in content.items() if key != "left_out"}  # its reasons hold paths
    plan = Plan(
        bundle=str(source.root),
        dataset_dir=str(root),
        protocol=protocol,
        folds=chosen,
        cases={fold: [str(e["case"]) for e in entries if e["fold"] == fold] for fold in chosen},
        overlays=tuple(source.overlays),
        settings=dict(source.settings),
        modalities=modalities,
        max_epochs=int(config["max_epochs"]),
        data_name=str(content.get("name") or root.name),
        simulated=bool(content.get("simulated")),
        fingerprints={"configs": configs, "data_list": digest_of(listing), "inputs": inputs},
        left_out={item.case or item.where: str(as_error(item)) for item in left},
        sizes_vox=tuple(source.paper.get("sizes_vox", ())),
    )
    return plan, content


def require_same_plan(plan: Plan, out: Path) -> None:
    """Refuse to continue in a folder with another plan."""
    before = read_plan(out)
    if before is None:
        return
    # of cases left out the names alone: the reasons hold paths
    records = (p.record() | {"left_out": sorted(p.left_out)} for p in (plan, before))
    apart = ("bundle", "dataset_dir", "sizes_vox")  # the last has no part in trainings and maps
    now, then = ({k: v for k, v in record.items() if k not in apart} for record in records)
    changed = list(_differences(then, now))
    if changed:
        more = f"; and {len(changed) - 6} more" if len(changed) > 6 else ""
        raise refused("E-XVAL-07", where=str(out), found="; ".join(changed[:6]) + more)


def _differences(then: object, now: object, place: str = "") -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            yield from _differences(then.get(key), now.get(key), f"{place} {key}".strip())
    elif then != now:
        yield f"{place} was {then!r:.80}, is {now!r:.80}"


def data_folder(config: ConfigParser, dataset_dir: str | Path | None) -> Path:
    """Return the given data folder, else the config's own, which may be the phantom."""
    from monai_isles.phantom.dataset import dataset_or_phantom

    if dataset_dir is not None:
        return dataset_or_phantom(str(dataset_dir), folder="", cases=1, seed=0).absolute()
    return Path(config.get_parsed_content("dataset_dir")).absolute()


def digest_of(content: object) -> str:
    """Return the SHA-256 of JSON data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _folds(content: dict, folds: int | None, protocol: str) -> tuple[int, ...]:
    entries = content.get("training", [])
    without = [entry["case"] for entry in entries if entry.get("fold") is None]
    chosen = tuple(sorted({entry["fold"] for entry in entries if entry.get("fold") is not None}))
    if without or len(chosen) < (2 if protocol == PAPER else 3):
        found = f"folds {list(chosen)}; {len(without)} cases without a fold"
        raise refused("E-XVAL-04", where=f"training section, protocol {protocol}", found=found)
    if folds is not None and len(chosen) != folds:
        raise refused("E-XVAL-05", where="--folds", found=f"requested {folds}, the list has {len(chosen)}")
    return (TEST,) if protocol == SPLIT else chosen


def _require_apart(entries: Sequence[Mapping], inputs: Mapping[str, Mapping[str, str]], key: str) -> None:
    """Refuse one scan under two subject names, a leak that the list does not show."""
    first: dict[str, Mapping] = {}
    for entry in entries:
        other = first.setdefault(inputs[entry["case"]][key], entry)
        if other["fold"] != entry["fold"]:
            found = f"equal files in folds {other['fold']} and {entry['fold']}, subjects {other['subject']} "
            found += f"and {entry['subject']}"
            raise refused("E-XVAL-06", where=f"{other['case']} and {entry['case']}: {key}", found=found)


def local_split(content: Mapping, *, seed: int = 0) -> dict:
    """Return a copy of a data list whose folds are the parts: 0 validation, 1 test, 2 training.

    A list of 94 scans is split 6, 23, 65 as far as whole subjects allow; a list of another length in proportion,
    rounded, at least one scan a part. Subjects are drawn in the order of a hash of seed and name; those that do not fit
    into validation or test go to training. Train on it with ``--fold 0 --held_out [1]``, predict fold 1.

    Raises: ``E-LIST-51`` when there are too few subjects for three parts.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/crossval/test_split.py``.

    >>> cases = [{"case": f"case_{n}", "subject": f"subject_{n}"} for n in range(94)]
    >>> folds = [case["fold"] for case in local_split({"training": cases})["training"]]
    >>> folds.count(0), folds.count(1), folds.count(2)  # validation, test, training
    (6, 23, 65)
    """
    cases = list(content.get("training", []))
    sizes = Counter(str(case["subject"]) for case in cases)
    part = _parts(sizes, seed)
    results = [sum(n for name, n in sizes.items() if part[name] == k) for k in (VALIDATION, TEST, TRAINING)]
    if 0 in results:
        raise refused("E-LIST-51", where="local split", found=f"{len(sizes)} subjects in {len(cases)} scans")
    folds = {"count": 3, "seed": seed, "balanced": ["cases"], "parts": PARTS}
    return {**content, "folds": folds, "training": [{**case, "fold": part[str(case["subject"])]} for case in cases]}


def _parts(sizes: Mapping[str, int], seed: int) -> dict[str, int]:
    part, scans, whole = dict.fromkeys(sizes, TRAINING), sum(sizes.values()), sum(SPLIT_SIZES.values())
    free = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    for fold in (TEST, VALIDATION):
        left = max(1, round(scans * SPLIT_SIZES[fold] / whole))
        for name in [name for name in free if part[name] == TRAINING]:
            if sizes[name] <= left:
                part[name], left = fold, left - sizes[name]
    return part


def split_list(config: ConfigParser, out: Path, data: Path | None, listed: Path | None, *, seed: int = 0) -> dict:
    """Return a data list split by ``local_split``, kept as ``out/split.json``; one that states ``parts`` stays."""
    content = find_data_list(data_folder(config, data), listed)
    if content.get("folds", {}).get("parts") != PARTS:
        content = local_split(content, seed=seed)
    publish_json(out / "split.json", content)
    return content


def split_counts(content: Mapping) -> tuple[int, int, int]:
    """Return the scans of training, validation and test."""
    folds = [case.get("fold") for case in content["training"]]
    counts = folds.count(TRAINING), folds.count(VALIDATION), folds.count(TEST)
    if 0 in counts:
        found = f"{counts[0]} scans to train, {counts[1]} to validate, {counts[2]} to test"
        raise refused("E-REPR-34", where="data list", found=found)
    return counts
