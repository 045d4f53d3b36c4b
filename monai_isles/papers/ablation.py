"""The rows of a paper's ablation table: what each one is, and each one cross-validated and searched."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_isles.bundle.bundle import Bundle
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.crossval.plan import DATA_LIST, NESTED, PAPER, Plan, make_plan, read_plan
from monai_isles.crossval.protocols import SIZES_VOX, Protocol
from monai_isles.crossval.run import cross_validate
from monai_isles.crossval.search import search_folder
from monai_isles.errors import refused
from monai_isles.evaluation.pairs import find_references
from monai_isles.evaluation.score import score_cases
from monai_isles.evaluation.threshold_baselines import methods
from monai_isles.io.checksums import sha256_of
from monai_isles.io.publish import publish, publish_json

RULE = "rCBF < 30 %"
Rows = list[dict[str, object]]


def threshold_rows(folder: Path, keep: Path) -> tuple[dict[str, Rows], dict[str, str]]:
    """Return the scored rows of ``rcbf30`` and ``single_threshold`` by name, and a sentence on each rule.

    Args:
        folder: a finished cross-validation; its data list and folds are used, its networks are not.
        keep: file that holds the rows, so that a repeat over the same inputs need not tune again.
    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-08``, ``E-LIST-*``.
    Source: ``monai_isles.evaluation.threshold_baselines``; ``tests/papers/test_ablation.py``.
    """
    plan = read_plan(folder)
    data, listed = Path(plan.dataset_dir), folder / DATA_LIST
    stamp = hashlib.sha256(json.dumps([plan.fingerprints["inputs"], plan.cases], sort_keys=True).encode()).hexdigest()
    kept = json.loads(keep.read_text(encoding="utf-8")) if keep.is_file() else {}
    if kept.get("stamp") != stamp:
        scored: dict[str, Rows] = {}
        said: dict[str, list[str]] = {}
        cases = find_references(data, data_list=listed, maps=True)
        for fold in plan.folds:
            own = [case for case in cases if case.fold == fold]
            for name, text, mask_of in methods(data, listed, "training", [fold]):
                scored.setdefault(name, []).extend(score_cases(own, mask_of, name))
                said.setdefault(name, []).append(text)
        order = {case.name: place for place, case in enumerate(cases)}
        scored = {name: sorted(rows, key=lambda row: order[str(row["case"])]) for name, rows in scored.items()}
        texts = {name: " | ".join(dict.fromkeys(lines)) for name, lines in said.items()}
        kept = {"stamp": stamp, "said": texts, "rows": {name: [*map(_plain, rows)] for name, rows in scored.items()}}
        publish_json(keep, kept)
    rows = {name: [{k: math.nan if v is None else v for k, v in row.items()} for row in rows]
            for name, rows in kept["rows"].items()}  # fmt: skip
    return rows, kept["said"]


def rule_rows(found: OutOfFold) -> Rows:
    """Return one scored line a case of rCBF < 30 %, with its ``fold``, on the scans that a study scored.

    Args:
        found: of the study; its data list and folds are used, its maps are not.
    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-08``, ``E-LIST-*``.
    Source: ``monai_isles.evaluation.threshold_baselines``; ``tests/papers/test_ablation.py``.
    """
    data, listed = Path(found.plan.dataset_dir), found.folder / DATA_LIST
    cases = find_references(data, data_list=listed, folds=list(found.plan.folds), maps=True)
    (_, _, mask_of) = next(iter(methods(data, None, "training", None)))
    folds = {case.name: case.fold for case in cases}
    return [{**line, "fold": folds[str(line["case"])]} for line in score_cases(cases, mask_of, RULE)]


def _plain(row: dict[str, object]) -> dict[str, object]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


KEPT = ("model.pt", "curves.csv", "run.json")


@dataclass(frozen=True)
class AblationRow:
    """Name one row: its folder, its title, the overlay inside the bundle, and the row whose networks it predicts with.

    Args:
        trained_as: None for a row that trains its own networks.
    """

    key: str
    title: str
    overlay: str
    trained_as: str | None = None


_MRI = tuple(AblationRow(name, name.capitalize(), f"{name}.json") for name in ("baseline", "balanced", "proposed"))
ROWS: dict[str, tuple[AblationRow, ...]] = {
    "clerigues": (
        AblationRow("single_rt", "single +RT", "single_rt.json"),
        AblationRow("single_rt_sm", "+RT +SM", "single_rt_sm.json"),
        AblationRow("single_rt_sm_uf", "+RT +SM +UF", "single_rt_sm_uf.json", "single_rt_sm"),
    ),
    "clerigues_mri_siss": _MRI,
    "clerigues_mri_spes": _MRI,
}
OF_THE_ROWS = (
    "channels", "twins", "mc_passes", "focal_gamma", "focal_alpha", "random_offset", "augment", "threshold",
    "min_size_vox",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """Say what every row of a table shares.

    Args:
        overlays: config files of the bundle that lie below the row's own, ``demo.json`` for a short try.
        settings: value by id; they win over all files.
        resamples, seed: of the bootstrap intervals.
        sizes_vox: smallest lesions that the search tries.
    Raises:
        IslesError: ``E-REPR-01`` for a setting that the rows differ in.
    """

    bundle: Path
    data_list: Path | None = None
    dataset_dir: Path | None = None
    overlays: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    resamples: int = 2000
    seed: int = 0
    sizes_vox: tuple[int, ...] = SIZES_VOX

    def __post_init__(self) -> None:
        taken = [key for key in self.settings if key.removeprefix("+").split("#")[0].split("::")[0] in OF_THE_ROWS]
        if taken:
            raise refused(
                "E-REPR-01",
                where=f"--set {', '.join(taken)}",
                found="one value for all rows",
                of_the_rows=", ".join(OF_THE_ROWS),
            )


@dataclass(frozen=True)
class RowResult:
    """Hold one row of ours: where its maps are, and its scores by protocol, the published way first."""

    row: AblationRow
    folder: Path
    tables: tuple[Protocol, Protocol]
    record: dict[str, object]


def run_row(study: Study, row: AblationRow, out: Path, *, nested: bool = False) -> RowResult:
    """Cross-validate and search one row in ``out/<key>/paper`` (and ``out/<key>/nested``); what is done is kept.

    The second table is the nested protocol where ``nested`` trains again for it, else the same trainings with T and
    Smin of each fold chosen on the other folds.

    Raises:
        IslesError: ``E-REPR-02`` a fold or case failed, ``E-REPR-03`` another row's networks are not what this row
            would train, and those of ``make_plan``, ``cross_validate`` and ``search_folder``.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Table 1; ``tests/papers/test_ablation.py``.
    """
    bootstrap = {"resamples": study.resamples, "seed": study.seed, "sizes_vox": study.sizes_vox}
    paper = _validate(study, row, out, PAPER)
    other = _validate(study, row, out, NESTED) if nested else None
    found = search_folder(paper, nested=other, **bootstrap)
    second = found.tables[1] if other is None else search_folder(other, **bootstrap).tables[1]
    return RowResult(row, paper, (found.tables[0], second), found.record)


def _validate(study: Study, row: AblationRow, out: Path, protocol: str) -> Path:
    plan, content = make_plan(
        study.bundle,
        data_list=study.data_list,
        dataset_dir=study.dataset_dir,
        overlays=(*study.overlays, row.overlay),
        settings=study.settings,
        protocol=protocol,
    )
    folder = out / row.key / protocol
    if row.trained_as is not None:
        other = next(r for rows in ROWS.values() for r in rows if r.key == row.trained_as)
        require_same_training(study, row, other)
        take_over(plan, out / row.trained_as / protocol, folder)
    record = cross_validate(plan, content, folder)
    require_whole(record, f"{row.title}, {protocol} protocol: {folder}")
    return folder


def take_over(plan: Plan, source: Path, folder: Path) -> None:
    """Copy the finished trainings of another row, so that the same networks are not trained twice."""
    for fold in plan.folds:
        old, new = source / f"fold_{fold}", folder / f"fold_{fold}"
        if not (old / KEPT[-1]).is_file():
            continue
        same = (new / KEPT[0]).is_file() and sha256_of(new / KEPT[0]) == sha256_of(old / KEPT[0])
        if not (same and (new / KEPT[-1]).is_file()):
            for name in (name for name in KEPT if (old / name).is_file()):
                publish(new / name, lambda tmp, name=name, old=old: shutil.copyfile(old / name, tmp))


def require_same_training(study: Study, row: AblationRow, other: AblationRow) -> None:
    """Refuse to share networks between rows whose training configs differ in more than the prediction's passes.

    Raises:
        IslesError: ``E-REPR-03``.
    """
    configs = [
        dict(Bundle(study.bundle, (*study.overlays, r.overlay), study.settings).config("train").get())
        for r in (row, other)
    ]
    ours, theirs = ({key: value for key, value in config.items() if key != "mc_passes"} for config in configs)
    different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if different:
        raise refused(
            "E-REPR-03", where=f"{row.overlay} against {other.overlay}", found=f"differing: {', '.join(different)}"
        )


def require_whole(record: Mapping[str, object], where: str) -> None:
    """Refuse a cross-validation with a failed fold or case.

    Raises:
        IslesError: ``E-REPR-02``.
    """
    folds: Mapping[str, Mapping] = record["folds"]
    cases: Mapping[str, Mapping] = record["cases"]
    faults = [f"fold {fold}: {one.get('error', '')}" for fold, one in folds.items() if one["outcome"] == "failed"]
    faults += [f"{name}: {one['outcome']}" for name, one in cases.items() if one["outcome"] not in _FINE]
    if faults:
        raise refused("E-REPR-02", where=where, found=f"{len(faults)} faults: {'; '.join(faults[:6])}")


_FINE: Sequence[str] = ("ok", "done before")
