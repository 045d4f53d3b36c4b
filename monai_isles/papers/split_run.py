"""Train a configuration on one split into training, validation and test, and score the test scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from monai_isles.bundle.bundle import Bundle
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.crossval.plan import DATA_LIST, NESTED, Plan, make_plan
from monai_isles.crossval.run import cross_validate
from monai_isles.data.datalist import find_data_list
from monai_isles.errors import refused
from monai_isles.evaluation.pairs import find_references
from monai_isles.papers.ablation import Study, require_whole
from monai_isles.papers.abulnaga import Row, score_maps
from monai_isles.papers.fold_ensemble import inference_of

VALIDATION, TEST, TRAINING = 0, 1, 2
SIZES = {VALIDATION: 6, TEST: 23, TRAINING: 65}


def local_split(content: Mapping, *, seed: int = 0) -> dict:
    """Return a copy of a data list whose folds are the parts: 0 validation, 1 test, 2 training.

    A list of 94 scans is split 6, 23, 65 as far as whole subjects allow; a list of another length in proportion,
    rounded, at least one scan a part. Subjects are drawn in the order of a hash of seed and name; who does not fit into
    validation or test any more goes to training. The paper names no patients, so its own split cannot be had.

    Train on it with ``--fold 0 --held_out [1]``, predict fold 1.

    Raises:
        IslesError: ``E-LIST-51`` when there are too few subjects for three parts.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/papers/test_local_split.py``.
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


class SplitPlan(Plan):
    """A plan of one training: the validation part chooses the epoch, the test part is seen by nobody."""

    def watched(self, fold: int) -> int:
        return VALIDATION

    def held_out(self, fold: int) -> list[int]:
        return [fold]


@dataclass(frozen=True)
class SplitResult:
    """Hold a trained row: its test maps, one line a test case with every metric, and what the training took."""

    found: OutOfFold
    cases: list[Row]
    training: Mapping[str, object]


def split_list(study: Study, out: Path, *, seed: int = 0) -> dict:
    """Return the study's data list split as the paper's, and keep it as ``out/split.json``.

    A list whose ``folds`` say ``"parts": ["validation", "test", "training"]`` is a split already and stays as it is.

    Raises:
        IslesError: ``E-LIST-51`` too few subjects, those of ``find_data_list``, ``E-PHAN-04`` no such data folder.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/papers/test_split_run.py``.
    """
    from monai_isles.io.publish import publish_json
    from monai_isles.phantom.dataset import dataset_or_phantom

    if study.dataset_dir is not None:
        root = dataset_or_phantom(str(study.dataset_dir), folder="", cases=1, seed=0)
    else:
        root = (
            Bundle(study.bundle, tuple(study.overlays), study.settings)
            .config("train")
            .get_parsed_content("dataset_dir")
        )
    content = find_data_list(root, study.data_list)
    if content.get("folds", {}).get("parts") != PARTS:
        content = local_split(content, seed=seed)
    publish_json(out / "split.json", content)
    return content


def run_split(study: Study, overlays: tuple[str, ...], listed: Path, folder: Path) -> SplitResult:
    """Train on the training part, keep the epoch that the validation part likes best, predict and score the test part.

    The study's overlays lie above ``overlays``. What is done is not done again.

    Args:
        listed: data list of three parts, as ``split_list`` keeps it.
        folder: where the row is trained.
    Raises:
        IslesError: ``E-REPR-02`` the training or a case failed, and those of ``make_plan`` and ``cross_validate``.
    Source: Wang 2020, section 4.2; ``tests/papers/test_split_run.py``.
    """
    plan, content = make_plan(
        study.bundle,
        data_list=listed,
        dataset_dir=study.dataset_dir,
        overlays=(*overlays, *study.overlays),
        settings=study.settings,
        protocol=NESTED,
    )
    plan = SplitPlan(**replace(plan, folds=(TEST,), cases={TEST: plan.cases[TEST]}).__dict__)
    require_whole(cross_validate(plan, content, folder), str(folder))
    references = find_references(Path(plan.dataset_dir), data_list=folder / DATA_LIST, folds=[TEST])
    found = OutOfFold(folder, plan, references)
    return SplitResult(found, score_maps(references, found.read, folder.name), _training(folder))


def parameters_m(plan: Plan) -> float:
    """Return the parameters of the network that a plan predicts with, in millions."""
    from monai.bundle import ConfigParser

    network = ConfigParser(inference_of(plan)).get_parsed_content("network_def")
    return sum(one.numel() for one in network.parameters()) / 1e6


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


def _training(folder: Path) -> dict[str, object]:
    path = folder / f"fold_{TEST}" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {key: record[key] for key in ("outcome", "seconds") if key in record}
