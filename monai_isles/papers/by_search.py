"""Tables whose rows are cross-validated and searched for threshold and smallest lesion, by two protocols."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from monai_isles.papers.study import PaperRow, Study, chosen_rows, train_row

if TYPE_CHECKING:
    from monai_isles.crossval.out_of_fold import OutOfFold, Row
    from monai_isles.crossval.protocols import Protocol
    from monai_isles.papers.tables import PaperHead
    from monai_isles.reports.views import CaseView

RULES = {"rcbf30": "rCBF < 30 %", "single_threshold": "best single threshold"}
DEFAULT = {"table": [1]}


@dataclass(frozen=True)
class RowResult:
    """Hold one row of ours: its out-of-fold maps, and its scores by protocol, the published way first."""

    row: PaperRow
    found: OutOfFold
    tables: tuple[Protocol, Protocol]
    record: dict[str, Any]


def arguments(parser: argparse.ArgumentParser, paper: Mapping[str, Any]) -> None:
    """Declare the options of such a table."""
    if len(paper["tasks"]) > 1:
        parser.add_argument("--task", choices=tuple(paper["tasks"]), required=True, help="task to train and score")
    parser.add_argument("--nested", action="store_true",
                        help="train again by the nested protocol for the second table (twice the time)")  # fmt: skip
    parser.add_argument("--no-threshold", action="store_true", help="leave out the rows of the threshold rules")
    parser.add_argument("--test-set", metavar="DESCRIPTION",
                        help="also predict the list's test section by the last row's fold ensemble, and pack the "
                        "submission archive under this description")  # fmt: skip


def make(args: argparse.Namespace, paper: Mapping[str, Any], study: Study) -> tuple[list[str], dict[str, Any]]:
    """Run every row, write the tables and figures; return the texts to print and the record.

    Raises:
        IslesError: ``E-REPR-02`` and ``E-REPR-03`` from the rows, those of the search and the test section.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Table 1; ``tests/papers/test_by_search.py``.
    """
    task = paper["tasks"][getattr(args, "task", next(iter(paper["tasks"])))]
    sizes = tuple(paper["sizes_vox"])
    study = dataclasses.replace(study, overlays=(*task["overlays"], *study.overlays), sizes_vox=sizes)
    if args.test_set:
        _require_submission(study, args.test_set)
    results: list[RowResult] = []
    for row in chosen_rows(study.bundle, ["table1"], args.rows):
        args.say(row)
        results.append(run_row(study, row, args.out, nested=args.nested))
    text = _write(args, paper, task, study, results)
    if args.test_set:
        text += "\n" + _test_set(args, results[-1])
    return [text], {result.row.key: result.record for result in results}


def run_row(study: Study, row: PaperRow, out: Path, *, nested: bool = False) -> RowResult:
    """Cross-validate and search one row in ``out/<key>/paper`` (and ``out/<key>/nested``); what is done is kept.

    The second table is the nested protocol where ``nested`` trains again for it, else the same trainings with T and
    Smin of each fold chosen on the other folds.

    Raises:
        IslesError: those of ``train_row`` and ``search_folder``.
    """
    from monai_isles.crossval.plan import NESTED, PAPER
    from monai_isles.crossval.search import search_folder

    def train(protocol: str) -> OutOfFold:
        source = None if row.trained_as is None else out / row.trained_as / protocol
        return train_row(study, row, out / row.key / protocol, protocol=protocol, source=source)

    bootstrap: dict[str, Any] = {"resamples": study.resamples, "seed": study.seed, "sizes_vox": study.sizes_vox}
    paper = train(PAPER)
    other = train(NESTED).folder if nested else None
    found = search_folder(paper.folder, nested=other, **bootstrap)
    second = found.tables[1] if other is None else search_folder(other, **bootstrap).tables[1]
    return RowResult(row, paper, (found.tables[0], second), found.record)


def threshold_rows(found: OutOfFold, keep: Path) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Return the scored rows of ``rcbf30`` and ``single_threshold`` by name, and a sentence on each rule.

    Args:
        found: a finished cross-validation; its data list and folds are used, its networks are not.
        keep: file that holds the rows, so that a repeat over the same inputs need not tune again.
    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-08``, ``E-LIST-*``.
    Source: ``monai_isles.evaluation.threshold_baselines``; ``tests/papers/test_by_search.py``.
    """
    from monai_isles.io.publish import publish_json

    plan = found.plan
    stamp = hashlib.sha256(json.dumps([plan.fingerprints["inputs"], plan.cases], sort_keys=True).encode()).hexdigest()
    kept = json.loads(keep.read_text(encoding="utf-8")) if keep.is_file() else {}
    if kept.get("stamp") != stamp:
        scored, said = _scored_rules(found)
        plain = {name: [*map(_plain, rows)] for name, rows in scored.items()}
        kept = {"stamp": stamp, "said": said, "rows": plain}
        publish_json(keep, kept)
    rows = {name: [{k: math.nan if v is None else v for k, v in row.items()} for row in rows]
            for name, rows in kept["rows"].items()}  # fmt: skip
    return rows, kept["said"]


def _scored_rules(found: OutOfFold) -> tuple[dict[str, list[Row]], dict[str, str]]:
    from monai_isles.crossval.plan import DATA_LIST
    from monai_isles.evaluation.pairs import find_references
    from monai_isles.evaluation.score import score_cases
    from monai_isles.evaluation.threshold_baselines import methods

    data, listed = Path(found.plan.dataset_dir), found.folder / DATA_LIST
    scored: dict[str, list[Row]] = {}
    said: dict[str, list[str]] = {}
    cases = find_references(data, data_list=listed, maps=True)
    for fold in found.plan.folds:
        own = [case for case in cases if case.fold == fold]
        for name, text, mask_of in methods(data, listed, "training", [fold]):
            scored.setdefault(name, []).extend(score_cases(own, mask_of, name))
            said.setdefault(name, []).append(text)
    order = {case.name: place for place, case in enumerate(cases)}
    scored = {name: sorted(rows, key=lambda row: order[str(row["case"])]) for name, rows in scored.items()}
    return scored, {name: " | ".join(dict.fromkeys(lines)) for name, lines in said.items()}


def _plain(row: Mapping[str, object]) -> dict[str, object]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _write(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    task: Mapping[str, Any],
    study: Study,
    results: Sequence[RowResult],
) -> str:
    rules, said = ({}, {}) if args.no_threshold or not task.get("rules") else threshold_rows(
        results[0].found, args.out / "threshold_rules.json"
    )  # fmt: skip
    flattery = [
        f"{result.row.name}: the paper protocol lies {one['dice_points']:+.2f} Dice points above {one['over']}"
        for result in results for one in result.record["flattery"]
    ]  # fmt: skip
    notes = [*paper.get("notes", ()), *(f"{RULES[name]}: {text}" for name, text in said.items()), *flattery]
    texts = [_table(args, paper, task, study, results, place, rules, notes) for place in range(2)]
    _figures(args.out, results, task["shown"])
    return "\n\n".join(texts)


def _table(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    task: Mapping[str, Any],
    study: Study,
    results: Sequence[RowResult],
    place: int,
    rules: Mapping[str, list[Row]],
    notes: Sequence[str],
) -> str:
    """Write one protocol's table: the published way as ``table``, the other as ``table_<protocol>``."""
    from monai_isles.evaluation.compare import TESTED, compare_methods
    from monai_isles.evaluation.summary import summarise
    from monai_isles.papers.published import published_tables
    from monai_isles.papers.tables import columns, publish_table

    scored = {result.row.name: result.tables[place].rows for result in results}
    rows: list[dict[str, Any]] = [_ours(result, place) for result in results]
    for name, lines in rules.items():
        scored[RULES[name]] = lines
        rows.append({"name": RULES[name], **summarise(lines, seed=study.seed)})
    tested = [metric for metric in ("dsc", "ppv", "sensitivity", *_distance(paper)) if metric in (*TESTED, "hd_vox")]
    pairs = _pairs([result.row.name for result in results], [RULES[name] for name in rules])
    tests = compare_methods(scored, pairs, metrics=tested, resamples=study.resamples, seed=study.seed)
    protocol = results[0].tables[place]
    keys = ("threshold", "min_size_vox", "dsc", "ppv", "sensitivity", "hd_vox", "hd_mm", "r2")
    metrics = columns(keys, paper.get("headings"))
    published = published_tables(study.bundle)[task["published"]]
    head = _head(args, paper, results, protocol, notes)
    name = "table" if place == 0 else f"table_{protocol.name}"
    return publish_table(args.out, name, rows, published, metrics, head=head, tests=tests)


def _distance(paper: Mapping[str, Any]) -> list[str]:
    """Return the key of the paper's own Hausdorff distance."""
    printed = next(iter(paper["published"].values()))["columns"]
    return [key for key in ("hd_vox", "hd_mm") if key in printed]


def _pairs(names: Sequence[str], rules: Sequence[str]) -> list[tuple[str, str]]:
    """Return what is tested against what: each row against the row above and the first, each rule against the last."""
    above = [(name, names[place - 1]) for place, name in enumerate(names) if place]
    first = [(name, names[0]) for name in names[2:]]
    return [*above, *first, *((rule, names[-1]) for rule in rules)]


def _ours(result: RowResult, place: int) -> dict[str, Any]:
    table = result.tables[place]
    chosen = {key: "/".join(dict.fromkeys(f"{getattr(one, key):g}" for one in table.choices.values()))
              for key in ("threshold", "min_size_vox")}  # fmt: skip
    return {"name": result.row.name, **chosen, **cast(dict[str, Any], table.summary)["methods"]["network"]}


def _head(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    results: Sequence[RowResult],
    protocol: Protocol,
    notes: Sequence[str],
) -> PaperHead:
    from monai_isles.papers.tables import PaperHead

    plan = results[0].found.plan
    task = f", {args.task}" if getattr(args, "task", None) else ""
    return PaperHead(
        title=f"{paper['cited']}, Table 1{task}, protocol {protocol.name}",
        data=plan.data_name,
        simulated=plan.simulated,
        n=len(results[0].found.cases),
        split=f"{len(plan.folds)} folds by subject, out-of-fold; {protocol.said}",
        command=args.command,
        notes=notes,
    )


def _figures(out: Path, results: Sequence[RowResult], shown: str) -> None:
    from monai_isles.io.publish import publish
    from monai_isles.reports.canvas import png_bytes
    from monai_isles.reports.curves import read_curves, training_curves
    from monai_isles.reports.montage import methods_montage

    overlays = png_bytes(methods_montage(_three_cases(results, shown)), max_bytes=300_000)
    publish(out / "overlays.png", lambda tmp: tmp.write_bytes(overlays))
    for result in results:
        curves = result.found.folder / "fold_0" / "curves.csv"
        if result.row.trained_as is None and curves.is_file():
            figure = training_curves(read_curves(curves))
            figure.set_facecolor("white")
            target = out / f"curves_{result.row.key}_fold_0.png"
            drawn = png_bytes(figure)
            publish(target, partial(_write_bytes, drawn))


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _three_cases(results: Sequence[RowResult], modality: str) -> list[dict[str, CaseView]]:
    """Return the cases at the quartiles of the last row's Dice, each with the mask of every row."""
    from monai_isles.crossval.plan import DATA_LIST
    from monai_isles.data.entries import load_entries
    from monai_isles.io.read import read_image
    from monai_isles.postprocessing.components import binarise
    from monai_isles.reports.views import CaseView

    rows: Sequence[dict[str, Any]] = results[-1].tables[0].rows
    ranked = sorted(rows, key=lambda row: row["dsc"])
    chosen = [ranked[round(share * (len(ranked) - 1))]["case"] for share in (0.75, 0.5, 0.25)]
    shown: dict[str, dict[str, CaseView]] = {name: {} for name in chosen}
    for result in results:
        found = result.found
        entries = load_entries(found.folder / DATA_LIST, found.plan.dataset_dir, keys=(modality,), need_label=False)
        files = {str(entry["case"]): str(entry[modality]) for entry in entries}
        for case in (case for case in found.cases if case.name in shown):
            probability, reference = found.read(case)
            choice = result.tables[0].choices[cast(int, case.fold)]
            mask = binarise(probability, choice.threshold, choice.min_size_vox)
            images = {modality: read_image(files[case.name], kind=modality).data}
            view = CaseView(case.name, images, reference.spacing_mm, None, None, mask, reference.data > 0)
            shown[case.name][result.row.name] = view
    return [shown[name] for name in chosen]


def _require_submission(study: Study, description: str) -> None:
    """Refuse a submission that could not be packed, before anything is trained.

    Raises:
        IslesError: ``E-REPR-05`` no data list, or one without a test section, and those of ``challenge_names``.
    """
    from monai_isles.crossval.plan import data_folder
    from monai_isles.data.datalist import read_datalist
    from monai_isles.errors import refused
    from monai_isles.export.challenge import challenge_names

    if study.data_list is None or not read_datalist(study.data_list).get("test"):
        raise refused("E-REPR-05", where="--test-set", found=f"data list {study.data_list or 'made from the folder'}")
    folder = data_folder(study.open().config("train"), study.dataset_dir)
    challenge_names(study.data_list, folder, description=description)


def _test_set(args: argparse.Namespace, result: RowResult) -> str:
    from monai_isles.crossval.ensemble import predict_unseen
    from monai_isles.crossval.plan import DATA_LIST
    from monai_isles.export.challenge import export_challenge

    predictions = args.out / "test"
    cases = predict_unseen(result.found.folder, predictions)
    failed = [name for name, record in cases.items() if record["outcome"] == "failed"]
    if failed:
        return f"no submission: {len(failed)} of {len(cases)} test cases failed: {', '.join(failed)}"
    data_list, archive = result.found.folder / DATA_LIST, args.out / "submission.zip"
    made = export_challenge(predictions, data_list, result.found.plan.dataset_dir, archive, description=args.test_set)
    return f"{len(made.names)} test cases by the fold ensemble of {result.row.name}: {made.archive}"
