"""Make tables whose rows are cross-validated and searched for threshold and smallest lesion, by two protocols."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from monai_isles.crossval import ensemble
from monai_isles.crossval.out_of_fold import OutOfFold, Row
from monai_isles.crossval.plan import DATA_LIST, NESTED, PAPER, data_folder
from monai_isles.crossval.protocols import Protocol
from monai_isles.crossval.search import search_folder
from monai_isles.data.datalist import read_datalist
from monai_isles.errors import refused
from monai_isles.evaluation.compare import TESTED
from monai_isles.evaluation.pairs import on_reference_grid
from monai_isles.export.challenge import challenge_names, export_challenge
from monai_isles.io.read import read_image
from monai_isles.papers.study import RULE, PaperRow, Request, Study, chosen_rows, rule_rows, train_row
from monai_isles.postprocessing.components import binarise
from monai_isles.reports.curves import read_curves, training_curves
from monai_isles.reports.montage import methods_montage
from monai_isles.reports.views import CaseView

RULES = {"rcbf30": RULE, "single_threshold": "best single threshold"}
KEYS = ("threshold", "min_size_vox", "dsc", "ppv", "sensitivity", "hd_vox", "hd_mm", "r2")
DEFAULT = {"table": [1]}
_UNSEEN = 2


@dataclass(frozen=True)
class RowResult:
    """Hold one trained row: its out-of-fold maps, and its scores by protocol, the published one first."""

    row: PaperRow
    predictions: OutOfFold
    tables: tuple[Protocol, Protocol]
    record: dict[str, Any]


def arguments(parser: argparse.ArgumentParser, paper: Mapping[str, Any]) -> None:
    """Declare the options of such a table."""
    if len(paper["tasks"]) > 1:
        parser.add_argument("--task", choices=tuple(paper["tasks"]), required=True, help="task to train and score")
    parser.add_argument("--nested", action="store_true",
                        help="train again by the nested protocol for the second table (twice the time)")  # fmt: skip
    parser.add_argument("--no-threshold", action="store_true", help="leave out the rows of the threshold rules")
    parser.add_argument("--unseen", type=Path, metavar="DIR", help="scans with masks for --table 2 (default: the "
                        "list's test section)")  # fmt: skip
    parser.add_argument("--test-set", metavar="DESCRIPTION",
                        help="also predict the list's test section by the last row's fold ensemble, and pack the "
                        "submission archive under this description")  # fmt: skip


def make(request: Request) -> tuple[list[str], dict[str, Any]]:
    """Run every row, write the tables and figures; return the texts to print and the record.

    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Table 1; ``tests/papers/test_by_search.py``.
    """
    args, tasks = request.args, request.paper["tasks"]
    task = tasks[getattr(args, "task", next(iter(tasks)))]
    overlays = (*task["overlays"], *request.study.overlays)
    request = replace(request, study=replace(request.study, overlays=overlays))
    if args.test_set:
        # Refuse a submission that could not be packed, before any training.
        _require_test_section(request.study, "--test-set")
        folder = data_folder(request.study.open().config("train"), request.study.dataset_dir)
        challenge_names(cast(Path, request.study.data_list), folder, description=args.test_set)
    if _UNSEEN in args.table and args.unseen is None:
        _require_test_section(request.study, "--table 2")
    rows = chosen_rows(request.study.bundle, ["table1"], args.rows)
    if 1 not in args.table:  # the ensemble alone
        rows = [row for row in rows if row.key in (rows[-1].key, rows[-1].trained_as)]
    results: list[RowResult] = []
    for row in rows:
        args.say(row)
        results.append(run_row(request.study, row, args.out, nested=args.nested))
    texts = [_write(request, task, results)] if 1 in args.table else []
    texts += [_unseen_table(request, task["unseen"], results[-1])] if _UNSEEN in args.table else []
    texts += [_test_set(args, results[-1])] if args.test_set else []
    return texts, {result.row.key: result.record for result in results}


def run_row(study: Study, row: PaperRow, out: Path, *, nested: bool = False) -> RowResult:
    """Cross-validate and search one row in ``out/<key>/paper`` (and ``out/<key>/nested``).

    The second table is the nested protocol where ``nested`` trains again for it, else the same trainings with T and
    Smin of each fold chosen on the other folds.
    """

    def train(protocol: str) -> OutOfFold:
        source = None if row.trained_as is None else out / row.trained_as / protocol
        return train_row(study, row, out / row.key / protocol, protocol=protocol, source=source)

    bootstrap: dict[str, Any] = {"resamples": study.resamples, "seed": study.seed}
    paper = train(PAPER)
    other = train(NESTED).folder if nested else None
    _, (first, second), record = search_folder(paper.folder, nested=other, **bootstrap)
    if other is not None:
        second = search_folder(other, **bootstrap)[1][1]
    return RowResult(row, paper, (first, second), record)


def _write(request: Request, task: Mapping[str, Any], results: Sequence[RowResult]) -> str:
    """Write the tables of both protocols and the figures; return the texts."""
    ruled_too = task.get("rules") and not request.args.no_threshold
    rules, words = rule_rows(results[0].predictions, tuned=True) if ruled_too else ({}, {})
    optimism = [
        f"{result.row.name}: the paper protocol lies {item['dice_points']:+.2f} Dice points above {item['over']}"
        for result in results for item in result.record["optimism"]
    ]  # fmt: skip
    notes = [*request.paper.get("notes", ()), *(f"{RULES[name]}: {text}" for name, text in words.items()), *optimism]
    ruled = {RULES[name]: lines for name, lines in rules.items()}
    texts = [_table(request, task["published"], results, place, ruled, notes) for place in range(2)]
    request.picture("overlays", methods_montage(_three_cases(results, task["shown"])))
    for result in results:
        curves = result.predictions.folder / "fold_0" / "curves.csv"
        if result.row.trained_as is None and curves.is_file():
            figure = training_curves(read_curves(curves))
            figure.set_facecolor("white")
            request.picture(f"curves_{result.row.key}_fold_0", figure)
    return "\n\n".join(texts)


def _table(
    request: Request,
    beside: str,
    results: Sequence[RowResult],
    place: int,
    rules: Mapping[str, list[Row]],
    notes: Sequence[str],
) -> str:
    """Write one protocol's table: the published one as ``table``, the other as ``table_<protocol>``."""
    protocol, value = results[0].tables[place], results[0].predictions
    scored = {**{result.row.name: result.tables[place].rows for result in results}, **rules}
    rows: list[dict[str, Any]] = []
    for result, table in ((result, result.tables[place]) for result in results):
        chosen = {key: "/".join(dict.fromkeys(f"{getattr(choice, key):g}" for choice in table.choices.values()))
                  for key in ("threshold", "min_size_vox")}  # fmt: skip
        rows.append({"name": result.row.name, **chosen, **table.summary["methods"]["network"]})
    rows += [request.line(name, lines) for name, lines in rules.items()]
    printed = request.paper["published"][beside]["columns"]
    tested = [key for key in (*TESTED[:3], "hd_vox", "hd_mm") if key in TESTED[:3] or key in printed]
    pairs = _pairs([result.row.name for result in results], list(rules))
    task = f", {request.args.task}" if getattr(request.args, "task", None) else ""
    split = f"{len(value.plan.folds)} folds by subject, out-of-fold; {protocol.summary['protocol']}"
    head = request.head(f"Table 1{task}, protocol {protocol.name}", value, split, notes)
    name = "table" if place == 0 else f"table_{protocol.name}"
    return request.table(name, rows, KEYS, head, scored=scored, pairs=pairs, metrics=tested, beside=beside)


def _pairs(names: Sequence[str], rules: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs to test: each row against the row above and the first, each rule against the last."""
    above = [(name, names[place - 1]) for place, name in enumerate(names) if place]
    first = [(name, names[0]) for name in names[2:]]
    return [*above, *first, *((rule, names[-1]) for rule in rules)]


def _three_cases(results: Sequence[RowResult], modality: str) -> list[dict[str, CaseView]]:
    """Return the cases at the quartiles of the last row's Dice, each with the mask of every row."""
    rows: Sequence[dict[str, Any]] = results[-1].tables[0].rows
    ranked = sorted(rows, key=lambda row: row["dsc"])
    chosen = (ranked[round(share * (len(ranked) - 1))]["case"] for share in (0.75, 0.5, 0.25))
    shown: dict[str, dict[str, CaseView]] = {name: {} for name in chosen}  # of few scans two may be one
    for result in results:
        value, files = result.predictions, result.predictions.files(modality)
        for case in (case for case in value.cases if case.name in shown):
            probability, reference = value.read(case)
            choice = result.tables[0].choices[cast(int, case.fold)]
            mask = binarise(probability, choice.threshold, choice.min_size_vox)
            image = on_reference_grid(read_image(files[case.name], kind=modality), reference, case, kind=modality)
            images = {modality: image.data}
            view = CaseView(case.name, images, reference.spacing_mm, None, None, mask, reference.data > 0)
            shown[case.name][result.row.name] = view
    return list(shown.values())


def _unseen_table(request: Request, name: str, result: RowResult) -> str:
    """Predict unseen scans with all networks of a row and the T and Smin of its search; score them.

    Source: Clerigues 2019, section 4.2 and Table 2; Clerigues 2020, section 4.2, Tables 2 and 3.
    """
    args, results = request.args, result.predictions
    (pair,) = {(choice.threshold, choice.min_size_vox) for choice in result.tables[0].choices.values()}
    lines = ensemble.score_unseen([results], args.out / "unseen", folder=args.unseen, cut=pair)
    if not lines:
        return f"Table 2: scans predicted in {args.out / 'unseen'}, none of them has a mask; --test-set packs them"
    printed, where = request.paper["published"][name], args.unseen.name if args.unseen else "the test section"
    published = next(row.split("|")[0].strip() for row in printed["rows"] if "clera2" in row)
    more = {"published": published, "threshold": pair[0], "min_size_vox": pair[1]}
    row = request.line(f"{len(results.plan.folds)} networks of {result.row.name}", lines, **more)
    split = f"{where}: no network saw them; mean of the fold networks, T and Smin chosen on the training scans"
    head = replace(request.head(name.replace("table", "Table "), results, split), n=len(lines))
    return request.table(name, [row], ("threshold", "min_size_vox", *printed["columns"]), head)


def _require_test_section(study: Study, where: str) -> None:
    """Refuse options that need a test section if the list has none, before any training (``E-REPR-05``)."""
    if study.data_list is None or not read_datalist(study.data_list, study.dataset_dir).get("test"):
        raise refused("E-REPR-05", where=where, found=f"data list {study.data_list or 'made from the folder'}")


def _test_set(args: argparse.Namespace, result: RowResult) -> str:
    predictions = args.out / "test"
    cases = ensemble.predict_unseen(result.predictions.folder, predictions)
    failed = [name for name, record in cases.items() if record["outcome"] == "failed"]
    if failed:
        return f"no submission: {len(failed)} of {len(cases)} test cases failed: {', '.join(failed)}"
    data_list, archive = result.predictions.folder / DATA_LIST, args.out / "submission.zip"
    data = result.predictions.plan.dataset_dir
    made = export_challenge(predictions, data_list, data, archive, description=args.test_set)
    return f"{len(made.names)} test cases by the fold ensemble of {result.row.name}: {made.archive}"
