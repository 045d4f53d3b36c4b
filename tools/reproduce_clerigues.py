"""Clèrigues 2019, Table 1: every row cross-validated and searched, printed beside the published one, with tests."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reproduce_common import study_arguments, study_of

from monai_isles.errors import EXIT_DONE

if TYPE_CHECKING:
    from monai_isles.papers.ablation import RowResult, Study
    from monai_isles.papers.ablation_table import TableRow
    from monai_isles.reports import CaseView

RIVALS = {"rcbf30": "rCBF < 30 %", "single_threshold": "best single threshold"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the paper."""
    parser.add_argument("--table", type=int, choices=(1,), default=1, help="number of the table (default: 1)")
    study_arguments(parser)
    ablation_arguments(parser)


def ablation_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of an ablation table."""
    parser.add_argument("--nested", action="store_true",
                        help="train again by the nested protocol for the second table (twice the time)")  # fmt: skip
    parser.add_argument("--no-threshold", action="store_true", help="leave out the rows of the threshold rules")
    parser.add_argument("--test-set", metavar="DESCRIPTION",
                        help="also predict the list's test section by the last row's fold ensemble, and pack the "
                        "submission archive under this description")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run every row, write and print the tables."""
    return ablation(args, study_of(args, "clerigues"), rows="clerigues")


def ablation(args: argparse.Namespace, study: Study, *, rows: str, shown: str = "ct") -> int:
    """Run the rows of one name, write and print their tables; the published rows have the same name.

    Args:
        shown: the modality below the figure's overlays.
    """
    from monai_isles.io import RunFolder
    from monai_isles.papers.ablation import ROWS, run_row

    started = time.monotonic()
    with RunFolder(args.out) as held:
        results = []
        for row in ROWS[rows]:
            print(f"== {row.title} ({row.overlay})", file=sys.stderr, flush=True)
            results.append(run_row(study, row, args.out, nested=args.nested))
        text, record = _write(args, study, rows, results, shown)
        if args.test_set:
            text += "\n" + _test_set(args, results[-1])
        held.finish({"command": "reproduce", "minutes": round((time.monotonic() - started) / 60, 1), **record})
    print(text)
    return EXIT_DONE


def _write(
    args: argparse.Namespace, study: Study, paper: str, results: Sequence[RowResult], shown: str
) -> tuple[str, dict[str, object]]:
    from monai_isles.io import publish_json, publish_text
    from monai_isles.papers.ablation_table import ablation_csv, ablation_text, paired_tests

    rivals, notes = _rivals(args, results) if not args.no_threshold else ([], [])
    tables = {results[0].tables[place].name: [*_rows(paper, results, place), *rivals] for place in range(2)}
    bootstrap = {"resamples": study.resamples, "seed": study.seed}
    tests = {name: paired_tests(rows, **bootstrap) for name, rows in tables.items()}
    said = {table.name: table.said for table in results[0].tables}
    first = results[0].record
    kind = "simulated data, not patients" if first["simulated"] else "data as given"
    head = f"{paper}, table {args.table}: {first['data']} ({kind}), {first['cases']} out-of-fold cases"
    flattery = [
        f"{result.row.title}: the paper protocol lies {one['dice_points']:+.2f} Dice points above {one['over']}"
        for result in results for one in result.record["flattery"]
    ]  # fmt: skip
    body = ablation_text(tables, tests, said, [*notes, *flattery], published_on=_published_on(paper))
    text = "\n".join([head, "", body])
    publish_text(args.out / "table.csv", ablation_csv(tables, tests))
    publish_text(args.out / "table.txt", text + "\n")
    publish_json(args.out / "tests.json", {"simulated": first["simulated"], "tests": tests})
    _figures(args.out, results, shown)
    settings = {"overlays": list(study.overlays), **json.loads(json.dumps(dict(study.settings)))}
    return text, {"settings": settings, "rows": {result.row.key: result.record for result in results}}


def _published_on(paper: str) -> str:
    """Return the data of the published lines and their n, in words."""
    from monai_isles.papers.published import published_rows

    name, row = next(iter(published_rows(paper).items()))
    return f"{name.split(', ')[1]}, n {row['n']}"


def _rows(paper: str, results: Sequence[RowResult], place: int) -> list[TableRow]:
    from monai_isles.papers.ablation_table import TableRow
    from monai_isles.papers.published import published_rows

    printed = {name.rsplit(": ", 1)[1]: row for name, row in published_rows(paper).items()}
    rows, before = [], None
    for result in results:
        title, table = result.row.title, result.tables[place]
        pairs = list(dict.fromkeys((one.threshold, one.min_size_vox) for one in table.choices.values()))
        rows.append(TableRow(title, "ours", pairs, table.summary["methods"]["network"], table.rows, before))
        theirs = printed[title]
        rows.append(TableRow("published", "published", [(theirs["threshold"], theirs["min_size_vox"])], theirs))
        before = title
    return rows


def _rivals(args: argparse.Namespace, results: Sequence[RowResult]) -> tuple[list[TableRow], list[str]]:
    from monai_isles.evaluation.summary import summarise
    from monai_isles.papers.ablation import threshold_rows
    from monai_isles.papers.ablation_table import TableRow

    scored, said = threshold_rows(results[0].folder, args.out / "threshold_rules.json")
    rows = [
        TableRow(RIVALS[name], "threshold", (), summarise(cases, seed=args.seed), cases, results[-1].row.title)
        for name, cases in scored.items()
    ]
    return rows, [f"{RIVALS[name]}: {text}" for name, text in said.items()]


def _figures(out: Path, results: Sequence[RowResult], shown: str) -> None:
    from monai_isles.io.publish import publish
    from monai_isles.reports import methods_montage, png_bytes, read_curves, training_curves

    overlays = png_bytes(methods_montage(_three_cases(results, shown)), max_bytes=300_000)
    publish(out / "overlays.png", lambda tmp: tmp.write_bytes(overlays))
    for result in results:
        curves = result.folder / "fold_0" / "curves.csv"
        if result.row.trained_as is None and curves.is_file():
            figure = training_curves(read_curves(curves))
            figure.set_facecolor("white")
            target = out / f"curves_{result.row.key}_fold_0.png"
            publish(target, lambda tmp, figure=figure: tmp.write_bytes(png_bytes(figure)))


def _three_cases(results: Sequence[RowResult], modality: str) -> list[dict[str, CaseView]]:
    """Return the cases at the quartiles of the last row's Dice, each with the mask of every row."""
    from monai_isles.crossval.out_of_fold import find_out_of_fold
    from monai_isles.data import load_entries
    from monai_isles.io import read_image
    from monai_isles.postprocessing import binarise
    from monai_isles.reports import CaseView

    ranked = sorted(results[-1].tables[0].rows, key=lambda row: row["dsc"])
    chosen = [ranked[round(share * (len(ranked) - 1))]["case"] for share in (0.75, 0.5, 0.25)]
    shown: dict[str, dict[str, CaseView]] = {name: {} for name in chosen}
    for result in results:
        found = find_out_of_fold(result.folder)
        listed = result.folder / "data_list.json", found.plan.dataset_dir
        entries = load_entries(*listed, keys=(modality,), need_label=False)
        files = {entry["case"]: entry[modality] for entry in entries}
        for case in (case for case in found.cases if case.name in shown):
            probability, reference = found.read(case)
            choice = result.tables[0].choices[case.fold]
            mask = binarise(probability, choice.threshold, choice.min_size_vox)
            images = {modality: read_image(files[case.name], kind=modality).data}
            view = CaseView(case.name, images, reference.spacing_mm, None, None, mask, reference.data > 0)
            shown[case.name][result.row.title] = view
    return [shown[name] for name in chosen]


def _test_set(args: argparse.Namespace, result: RowResult) -> str:
    from monai_isles.crossval.plan import read_plan
    from monai_isles.crossval.unseen import predict_unseen
    from monai_isles.export.challenge import export_challenge

    predictions = args.out / "test"
    cases = predict_unseen(result.folder, predictions)
    failed = [name for name, record in cases.items() if record["outcome"] == "failed"]
    if failed:
        return f"no submission: {len(failed)} of {len(cases)} test cases failed: {', '.join(failed)}"
    data_list, archive = result.folder / "data_list.json", args.out / "submission.zip"
    data = read_plan(result.folder).dataset_dir
    made = export_challenge(predictions, data_list, data, archive, description=args.test_set)
    return f"{len(made.names)} test cases by the fold ensemble of {result.row.title}: {made.archive}"
