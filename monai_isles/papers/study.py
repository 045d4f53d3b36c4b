"""Train the rows of a paper, read from ``paper.json``; equal rows are trained once."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from monai_isles.bundle.bundle import Bundle
from monai_isles.crossval.out_of_fold import OutOfFold, Row, find_out_of_fold, score_maps
from monai_isles.crossval.plan import DATA_LIST, PAPER, Plan, digest_of, make_plan
from monai_isles.crossval.run import cross_validate, require_whole
from monai_isles.data.datalist import read_datalist
from monai_isles.data.input_rows import ROWS, InputRow
from monai_isles.errors import refused
from monai_isles.evaluation.compare import TESTED, compare_methods
from monai_isles.evaluation.pairs import find_references
from monai_isles.evaluation.score import score_cases
from monai_isles.evaluation.summary import summarise
from monai_isles.evaluation.threshold_baselines import methods
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish
from monai_isles.modalities import PERFUSION_MAPS
from monai_isles.papers.published import published_tables
from monai_isles.papers.tables import PaperHead, columns, publish_table
from monai_isles.reports.canvas import png_bytes

RULE = "rCBF < 30 %"
KEPT = ("model.pt", "curves.csv", "run.json")


@dataclass(frozen=True)
class PaperRow:
    """Hold one row of a table, as named in ``paper.json``.

    Args:
        table: key of the table or figure it belongs to.
        key: short name, and the folder of its training.
        column: of a table that has one column a training.
        trained_as: key of the row whose networks it predicts with; ``predicts_with`` are the ids that may differ.
        optional: trained only if requested by name.
        settings: value by id, above those of the study.
    """

    table: str
    name: str
    key: str
    overlays: tuple[str, ...]
    column: str | None = None
    trained_as: str | None = None
    predicts_with: tuple[str, ...] = ()
    optional: bool = False
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)

    def has_name(self, name: str) -> bool:
        """Return whether this is the row's printed name, its key, or its key without the table."""
        return name in (self.name, self.key, self.key.removeprefix(f"{self.table}_"))


def paper_rows(bundle: Path) -> list[PaperRow]:
    """Return the rows that ``paper.json`` of a bundle trains, in its order."""
    rows = []
    for row in Bundle(bundle).paper.get("rows", ()):
        own = [row["key"]] if {"use", "settings"} & set(row) else []
        overlays = (*row.get("overlays", ()), *own)
        more = {key: row[key] for key in ("column", "trained_as", "optional") if key in row}
        more["predicts_with"] = tuple(row.get("predicts_with", ()))
        rows.append(PaperRow(row["table"], row["name"], row["key"], overlays, **more))
    return rows


def chosen_rows(bundle: Path, tables: Sequence[str], names: Sequence[str] = ()) -> list[PaperRow]:
    """Return the rows of some tables in the paper's order: all but the optional ones, or those named."""
    rows = [row for table in tables for row in paper_rows(bundle) if row.table == table]
    unknown = [name for name in names if not any(row.has_name(name) for row in rows)]
    if unknown:
        known = "; ".join(f"{row.name} ({row.key})" for row in rows)
        raise refused("E-REPR-31", where=f"--rows, {', '.join(tables)}", found=", ".join(unknown), row=known)
    return [row for row in rows if any(map(row.has_name, names)) or not (names or row.optional)]


@dataclass(frozen=True)
class Study:
    """Hold what all rows of a table share: overlays below or above the rows' own (``rows_win``), settings above all."""

    bundle: Path
    data_list: Path | None = None
    dataset_dir: Path | None = None
    overlays: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        own = Bundle(self.bundle).paper.get("of_the_rows", ())
        taken = [key for key in self.settings if key.removeprefix("+").replace("::", "#").split("#")[0] in own]
        if taken:
            where = f"--set {', '.join(taken)}"
            raise refused("E-REPR-01", where=where, found="one value for all rows", of_the_rows=", ".join(own))

    def open(self, row: PaperRow | None = None) -> Bundle:
        """Return the bundle with the overlays of all rows, and of one row; later ones win."""
        own, settings = (row.overlays, row.settings) if row else ((), {})
        last = Bundle(self.bundle).paper.get("rows_win")
        overlays = (*self.overlays, *own) if last else (*own, *self.overlays)
        return Bundle(self.bundle, overlays, {**self.settings, **settings})

    def folders(self) -> dict[str, str]:
        """Return the folder of every row's training by its key: that of the first row with the same configs."""
        first, result = dict[str, str](), {}
        for row in paper_rows(self.bundle):
            configs = [self.open(row).config(name).get() for name in ("train", "inference")]
            result[row.key] = first.setdefault(digest_of(configs), row.key)
        return result


def train_row(
    study: Study,
    row: PaperRow,
    folder: Path,
    *,
    protocol: str = PAPER,
    listed: Path | None = None,
    source: Path | None = None,
) -> OutOfFold:
    """Cross-validate one row in ``folder``; networks of a row ``trained_as`` another are copied from ``source``."""
    data: dict[str, Any] = {"data_list": listed or study.data_list, "dataset_dir": study.dataset_dir}
    plan, content = make_plan(study.open(row), **data, protocol=protocol)
    if source is not None:
        require_same_training(study, row)
        take_over(plan, source, folder)
    require_whole(cross_validate(plan, content, folder), f"{row.name}, {protocol} protocol: {folder}")
    return find_out_of_fold(folder)


def take_over(plan: Plan, source: Path, folder: Path) -> None:
    """Copy the finished trainings of another row, so that the same networks are not trained twice."""
    for fold in plan.folds:
        old, new = source / f"fold_{fold}", folder / f"fold_{fold}"
        if not (old / KEPT[-1]).is_file():
            continue
        same = (new / KEPT[0]).is_file() and sha256_of(new / KEPT[0]) == sha256_of(old / KEPT[0])
        if not (same and (new / KEPT[-1]).is_file()):
            for name in (name for name in KEPT if (old / name).is_file()):
                publish(new / name, partial(shutil.copyfile, old / name))


def require_same_training(study: Study, row: PaperRow) -> None:
    """Refuse to share networks between rows whose training configs differ by more than the row's settings."""
    other = next(item for item in paper_rows(study.bundle) if item.key == row.trained_as)
    configs = [study.open(item).config("train").get() for item in (row, other)]
    ours, theirs = ({key: v for key, v in config.items() if key not in row.predicts_with} for config in configs)
    different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if different:
        raise refused("E-REPR-03", where=f"{row.key} against {other.key}", found=f"differing: {', '.join(different)}")


def require_dwi(study: Study, rows: Sequence[PaperRow], cases: Sequence[Mapping[str, object]]) -> None:
    """Refuse rows that need the true DWI where some training case has none."""
    without = [str(case["case"]) for case in cases if "dwi" not in case]
    read = [(row.name, inputs_of(study, row)) for row in rows]
    needy = [name for name, inputs in read if inputs and "dwi" in (*inputs.reads, *inputs.targets)]
    if without and needy:
        result = f"{len(without)} of {len(cases)} scans without one: {', '.join(without[:6])}"
        raise refused("E-REPR-33", where=", ".join(needy), found=result)


def inputs_of(study: Study, row: PaperRow) -> InputRow | None:
    """Return the inputs of a row's network (``monai_isles.data.input_rows``), None in a bundle without such rows."""
    values: dict[str, Any] = {}
    for name in row.overlays:
        values |= Bundle(study.bundle).overlay(name)
    return ROWS.get(str(values.get("inputs")))


def synthesises(study: Study, row: PaperRow) -> bool:
    """Return whether a row makes a pseudo-DWI."""
    inputs = inputs_of(study, row)
    return inputs is not None and not inputs.plain


def has_maps(predictions: OutOfFold) -> bool:
    """Return whether every scan that a study scored has the perfusion maps that the rules need."""
    listed = read_datalist(predictions.folder / DATA_LIST)["training"]
    scored = {case.name for case in predictions.cases}
    return all(set(PERFUSION_MAPS) <= set(case) for case in listed if case["case"] in scored)


def rule_rows(predictions: OutOfFold, *, tuned: bool = False) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Return the scored lines of the threshold rules by name, each with its ``fold``, and a sentence on each rule.

    ``tuned``: beside ``rcbf30`` also ``single_threshold``, tuned for each fold on the others.
    """
    data, listed = Path(predictions.plan.dataset_dir), predictions.folder / DATA_LIST
    cases = find_references(data, data_list=listed, folds=list(predictions.plan.folds), maps=True)
    scored: dict[str, list[Row]] = {}
    words: dict[str, list[str]] = {}
    for fold in predictions.plan.folds:
        own = [case for case in cases if case.fold == fold]
        for name, text, mask_of in methods(data, listed if tuned else None, "training", [fold] if tuned else None):
            scored.setdefault(name, []).extend({**line, "fold": fold} for line in score_cases(own, mask_of, name))
            words.setdefault(name, []).append(text)
    order = [case.name for case in cases]
    scored = {name: sorted(lines, key=lambda line: order.index(line["case"])) for name, lines in scored.items()}
    return scored, {name: " | ".join(dict.fromkeys(texts)) for name, texts in words.items()}


def against_last(scored: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the pairs that test every row against the last one."""
    *others, last = scored
    return [(name, last) for name in others]


@dataclass(frozen=True)
class Trained:
    """Hold a trained row: its maps, and one line a scored case with ``fold`` and every metric."""

    row: PaperRow
    predictions: OutOfFold
    cases: list[Row]

    def record(self, dice: str, **more: object) -> dict[str, object]:
        """Return the settings of the row, further entries, and the Dice by case under the name ``dice``."""
        plan = self.predictions.plan
        scores = {str(line["case"]): line["dsc"] for line in self.cases}
        return {"overlays": list(plan.overlays), "settings": plan.settings, **more, dice: scores}

    @property
    def note(self) -> str:
        """Return the words below a figure."""
        return f"folds of {len(self.cases)} scans{'; simulated data' if self.predictions.plan.simulated else ''}"


def train_scored(study: Study, row: PaperRow, folder: Path, **options: Any) -> Trained:
    """Train a row as ``train_row`` does and score every scan by the network that was not trained on it."""
    result = train_row(study, row, folder, **options)
    return Trained(row, result, score_maps(result.cases, result.read, folder.name))


def mean_and_sd(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Return mean, sd (n - 1) and n over the finite values; None where there are too few."""
    finite = np.array([value for value in values if value is not None and math.isfinite(value)])
    mean, sd = (float(finite.mean()) if finite.size else None), (float(finite.std(ddof=1)) if finite.size > 1 else None)
    return {"mean": mean, "sd": sd, "n": int(finite.size)}


def mean_cases(trainings: Sequence[Sequence[Row]], metrics: Sequence[str]) -> list[Row]:
    """Return every case with the mean of its metrics over the trainings, nan where one of them is."""
    by_name = [{case["case"]: case for case in cases} for cases in trainings]
    return [
        {**case, **{key: float(np.mean([cases[name][key] for cases in by_name])) for key in metrics}}
        for name, case in by_name[0].items()
    ]


Scored = Mapping[str, Sequence[Row]]
Pairs = Sequence[tuple[str, str]]
Compared = tuple[Scored, Pairs, Sequence[str], PaperHead, str]


@dataclass(frozen=True)
class Request:
    """Hold the request to ``reproduce``, and write tables and figures into its folder.

    ``compared``: rows, pairs, metrics, head and published name of every table with tests written so far, by its name.
    """

    args: argparse.Namespace
    paper: Mapping[str, Any]
    study: Study
    compared: dict[str, Compared] = field(default_factory=dict)

    @property
    def outputs(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield name and entry of every requested table, then of every requested figure."""
        for kind in ("table", "figure"):
            for number in sorted(set(getattr(self.args, kind))):
                yield f"{kind}{number}", self.paper[f"{kind}s"][f"{kind}{number}"]

    def head(self, title: str, predictions: OutOfFold, split: str, notes: Sequence[str] = ()) -> PaperHead:
        """Return the facts above a table of these maps."""
        plan, title = predictions.plan, f"{self.paper['cited']}, {title}"
        return PaperHead(title, plan.data_name, plan.simulated, len(predictions.cases), split, self.args.command, notes)

    def line(self, name: str, cases: Sequence[Mapping[str, Any]], **more: object) -> dict[str, Any]:
        """Return a row of a table: the summary of scored cases under a name."""
        return {"name": name, **more, **summarise(cases, seed=self.study.seed)}

    def rule_line(self, predictions: OutOfFold, name: str) -> dict[str, Any]:
        """Return the row of rCBF < 30 % over the scans of a study."""
        return self.line(f"{RULE}, {name}", rule_rows(predictions)[0]["rcbf30"])

    def table(
        self,
        name: str,
        rows: Sequence[Mapping[str, Any]],
        keys: Sequence[str],
        head: PaperHead,
        *,
        scored: Mapping[str, Sequence[Row]] = {},
        pairs: Pairs = (),
        metrics: Sequence[str] = TESTED,
        beside: str | None = None,
    ) -> str:
        """Write a table with the tests of ``pairs`` and the published one (``beside``, if it has another name)."""
        tests = self._compare(scored, pairs, metrics)
        if tests:
            self.compared[name] = (scored, pairs, metrics, head, beside or name)
        printed, shown = published_tables(self.study.bundle)[beside or name], columns(keys, self.paper["headings"])
        return publish_table(self.args.out, name, rows, printed, shown, head=head, tests=tests)

    def trainings_tables(self, each: Sequence[Mapping[str, Compared]]) -> list[str]:
        """Write ``NAME_trainings`` for every table with tests, from ``compared`` of every training; return the texts.

        A row shows mean and standard deviation over its trainings, each the mean over cases. The tests are of the mean
        of each case over the trainings; ``spread`` is the standard deviation of the difference between trainings.
        """
        texts = []
        for name, (scored, pairs, metrics, head, beside) in each[0].items():
            of = [one[name][0] for one in each]
            means = {row: mean_cases([one[row] for one in of], metrics) for row in scored}
            tests = self._compare(means, pairs, metrics)
            by_training = (self._compare(one, pairs, metrics) for one in of)
            for test, *differences in zip(tests, *by_training, strict=True):
                test["spread"] = mean_and_sd([one["cases"]["mean"] for one in differences])["sd"]
            rows = []
            for row in scored:
                numbers = {
                    key: mean_and_sd([mean_and_sd([case[key] for case in one[row]])["mean"] for one in of])
                    for key in metrics
                }
                rows.append({"name": row, "n": len(each), "of": "trainings", "metrics": numbers})
            head = replace(head, title=f"{head.title}, {len(each)} trainings of every row", notes=())
            printed = published_tables(self.study.bundle)[beside]
            printed = {row: line for row, line in printed.items() if row in scored}
            shown, place = columns(metrics, self.paper["headings"]), (self.args.out, f"{name}_trainings")
            texts.append(publish_table(*place, rows, printed, shown, head=head, tests=tests))
        return texts

    def _compare(self, scored: Scored, pairs: Pairs, metrics: Sequence[str]) -> list[dict[str, Any]]:
        return compare_methods(scored, pairs, metrics=metrics, resamples=self.study.resamples, seed=self.study.seed)

    def picture(self, name: str, figure: Figure, *, max_bytes: int = 300_000) -> Path:
        """Write a figure as ``name.png`` and return its path."""
        content, path = png_bytes(figure, max_bytes=max_bytes), self.args.out / f"{name}.png"
        publish(path, lambda tmp: tmp.write_bytes(content))
        return path
