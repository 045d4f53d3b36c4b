"""Networks compared over the same folds, without a search: cut at one half, scored fold by fold, and their ensemble."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_isles.bundle.bundle import setting
from monai_isles.errors import refused
from monai_isles.papers.study import PaperRow, Study, paper_rows, rule_rows, train_row

if TYPE_CHECKING:
    from monai_isles.crossval.out_of_fold import OutOfFold, Row
    from monai_isles.papers.tables import PaperHead

DEFAULT: dict[str, list[int]] = {}
CHOSEN = "the scored scans chose the epoch of their own fold's network, as in the paper"
SHOWN = 9


@dataclass(frozen=True)
class NetworkResult:
    """Hold a cross-validated row: its out-of-fold maps, and one line a case with ``fold`` and every metric."""

    row: PaperRow
    found: OutOfFold
    cases: list[Row]


Results = dict[str, dict[str, NetworkResult]]


def arguments(parser: argparse.ArgumentParser, paper: Mapping[str, Any]) -> None:
    """Declare the options of such tables."""
    columns = tuple(paper["columns"])
    parser.add_argument("--ensemble", action="store_true", help="train the networks of the main row and write "
                        "ensemble/: a bundle that fits them, with the list of their weights")  # fmt: skip
    parser.add_argument("--pretrained", type=Path, metavar="FILE", help="weights that the main network starts from; "
                        "the tables are then those of the pre-trained one")  # fmt: skip
    parser.add_argument("--pretrained-set", nargs="+", default=[], type=setting, metavar="KEY=VALUE",
                        help="settings of the pre-trained rows alone, as JSON")  # fmt: skip
    parser.add_argument("--pretrained-loss", nargs="+", default=list(columns), choices=columns, metavar="LOSS",
                        help="losses of the pre-trained rows (default: all); with fewer, the tables are those from "
                        "scratch")  # fmt: skip
    parser.add_argument("--unseen", type=Path, metavar="DIR", help="scans that no network trained on: the ensemble's "
                        "table gets a row of all networks on them (default: the list's test section, where it has "
                        "masks)")  # fmt: skip


def make(args: argparse.Namespace, paper: Mapping[str, Any], study: Study) -> tuple[list[str], dict[str, Any]]:
    """Cross-validate the rows that are needed, write what was asked for; return the texts and the record.

    Raises:
        IslesError: ``E-REPR-22`` when nothing was asked for, and those of the rows.
    Source: Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), section 5.1; ``tests/papers/test_by_folds.py``.
    """
    if not (args.table or args.figure or args.ensemble):
        raise refused("E-REPR-22", where=f"reproduce {args.paper}", found="no --table, --figure or --ensemble")
    results: Results = {}
    for row in rows_of(args, study):
        args.say(row)
        results.setdefault(row.name, {})[str(row.column)] = run_network(study, row, args.out)
    texts = [text for text in _made(args, paper, results) if text]
    record = {f"{name}, {loss}": _record(one) for name, both in results.items() for loss, one in both.items()}
    return texts, record


def rows_of(args: argparse.Namespace, study: Study) -> list[PaperRow]:
    """Return the rows that have to be trained for what was asked, those of the main network first."""
    rows = paper_rows(study.bundle)
    first = [row for row in rows if row.name == rows[0].name]
    named = [row for row in rows if any(row.called(name) or row.column == name for name in args.rows)]
    whole = args.pretrained and set(args.pretrained_loss) >= {str(row.column) for row in first if not row.optional}
    wanted = rows if 3 in args.figure else [] if whole else first
    start: dict[str, object] = {"pretrained": str(args.pretrained.absolute())} if args.pretrained else {}
    begun = [
        replace(row, name=pretrained_name(row.name), key=row.key.replace("_", "_pretrained_", 1),
                settings={**start, **dict(args.pretrained_set)})
        for row in first if args.pretrained and row.column in args.pretrained_loss
        and (not row.optional or row in named)
    ]  # fmt: skip
    return [*begun, *(row for row in rows if row in wanted and (not row.optional or row in named))]


def pretrained_name(name: str) -> str:
    """Return the printed name of a network that starts from given weights."""
    return name.replace("(scratch)", "(pre-trained)")


def run_network(study: Study, row: PaperRow, out: Path) -> NetworkResult:
    """Cross-validate one row in ``out/<key>`` and score every scan by the network that was not trained on it.

    The scored scans choose the epoch whose weights are kept, as in the paper. What is done is not done again.
    """
    from monai_isles.crossval.out_of_fold import score_maps

    found = train_row(study, row, out / row.key)
    return NetworkResult(row, found, score_maps(found.cases, found.read, row.key))


def dice_by_fold(cases: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the mean Dice of the scored scans of each fold."""
    folds = sorted({int(line["fold"]) for line in cases})
    return {fold: float(np.mean([line["dsc"] for line in cases if line["fold"] == fold])) for fold in folds}


def over_folds(cases: Sequence[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """Return mean, sd (n - 1) and n of the folds' mean Dice.

    Source: Abulnaga & Rubin 2018, Table 1, whose totals are these statistics of its five folds;
        ``tests/papers/test_by_folds.py``.
    """
    means = np.array(list(dice_by_fold(cases).values()))
    spread = float(means.std(ddof=1)) if len(means) > 1 else None
    return {"mean": float(means.mean()), "sd": spread, "n": len(means)}


def _made(args: argparse.Namespace, paper: Mapping[str, Any], results: Results) -> list[str]:
    scratch = next(name for name in results if "(pre-trained)" not in name or len(results) == 1)
    whole = next((name for name, both in results.items() if "(pre-trained)" in name and len(both) > 1), None)
    main = results[whole or scratch]
    texts = [_by_fold(args, paper, main)] if 1 in args.table else []
    if 2 in args.table or args.ensemble:
        texts.append(_ensemble(args, main))
    if 2 in args.table:
        texts.append(_ensemble_table(args, paper, main))
    if 3 in args.figure:
        texts.append(_architectures(args, paper, results))
    if 4 in args.figure:
        texts.append(_contours(args, paper, main))
    return texts


def _losses(both: Mapping[str, NetworkResult]) -> list[str]:
    return [*both, "rule"]


def _by_fold(args: argparse.Namespace, paper: Mapping[str, Any], both: Mapping[str, NetworkResult]) -> str:
    first, rule = next(iter(both.values())), rule_rows(next(iter(both.values())).found)
    by_fold = {loss: dice_by_fold(one.cases) for loss, one in both.items()} | {"rule": dice_by_fold(rule)}
    counts = {fold: sum(line["fold"] == fold for line in first.cases) for fold in dice_by_fold(first.cases)}
    rows: list[dict[str, Any]] = [
        {"name": f"fold {place}", "n": counts[fold],
         "metrics": {name: {"mean": found[fold], "n": counts[fold]} for name, found in by_fold.items()}}
        for place, fold in enumerate(counts, start=1)
    ]  # fmt: skip
    total = {loss: over_folds(one.cases) for loss, one in both.items()} | {"rule": over_folds(rule)}
    rows.append({"name": "total", "n": len(counts), "of": "folds", "metrics": total})
    note = "Mean Dice of the scans of each fold; total: mean +- sd over folds. Our folds are not the paper's."
    names = {loss: paper["columns"][loss] for loss in both}
    tests = _tests(args, {names[loss]: one.cases for loss, one in both.items()})
    head = _head(args, paper, both, "Table 1, Dice", [note])
    return _publish(args, paper, "table1", rows, _losses(both), head, tests)


def _tests(args: argparse.Namespace, scored: Mapping[str, list[Row]]) -> list[dict[str, Any]]:
    """Return every column's tests against the last one."""
    from monai_isles.evaluation.compare import compare_methods

    names = list(scored)
    return compare_methods(scored, [(name, names[-1]) for name in names[:-1]], seed=args.seed)


def _ensemble(args: argparse.Namespace, both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.crossval.ensemble import ensemble_members, inference_of
    from monai_isles.io.publish import publish_json

    members = [one.found for one in both.values() if not one.row.optional]
    listed, folder = ensemble_members(members), args.out / "ensemble"
    publish_json(folder / "inference.json", inference_of(members[0].plan))
    weights = [str(one["weights"]) for one in listed]
    predict = f"monai-isles predict CASE_OR_DATA_DIR --bundle {folder} --weights {' '.join(weights)} --out PREDICTIONS"
    publish_json(folder / "ensemble.json", {"members": listed, "predict": predict})
    return (
        f"{len(listed)} networks, listed in {folder / 'ensemble.json'}; predict new scans with all of them:\n{predict}"
    )


def _ensemble_table(args: argparse.Namespace, paper: Mapping[str, Any], both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.crossval.ensemble import score_out_of_fold, score_unseen
    from monai_isles.evaluation.summary import summarise

    both = {loss: one for loss, one in both.items() if not one.row.optional}
    found = [one.found for one in both.values()]
    named = {loss: paper["columns"][loss] for loss in both}
    scored = {f"{named[loss]} alone, out of fold": one.cases for loss, one in both.items()}
    both_named = " and ".join(named.values())
    scored[f"ours: {both_named} network of the scan's own fold"] = score_out_of_fold(found)
    tests = _tests(args, scored)
    unseen = score_unseen(found, args.out / "unseen", folder=args.unseen)
    if unseen:
        where = args.unseen.name if args.unseen else "the test section"
        scored[f"ours: all {len(found) * len(found[0].plan.folds)} networks, scans of {where}"] = unseen
    rows: list[dict[str, Any]] = [{"name": name, **summarise(lines, seed=args.seed)} for name, lines in scored.items()]
    rows[-1]["published"] = "ours"
    rule = summarise(rule_rows(found[0]), seed=args.seed)
    rows.append({"name": "rCBF < 30 %, no network, the out-of-fold scans", **rule})
    keys = paper["published"]["table2"]["columns"]
    head = _head(args, paper, both, "Table 2, ensemble", paper["notes"])
    return _publish(args, paper, "table2", rows, keys, head, tests)


def _architectures(args: argparse.Namespace, paper: Mapping[str, Any], results: Results) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.papers.figures import architecture_bars
    from monai_isles.reports.canvas import png_bytes

    totals = {name: {loss: over_folds(one.cases) for loss, one in both.items()} for name, both in results.items()}
    bars = [{"architecture": name.replace(" (", "\n("), "loss": paper["columns"][loss], **total}
            for name, both in totals.items() for loss, total in both.items()]  # fmt: skip
    first = next(iter(results.values()))
    picture = png_bytes(architecture_bars(bars, note=_note(first)))
    publish(args.out / "figure3.png", lambda tmp: tmp.write_bytes(picture))
    rows: list[dict[str, Any]] = [{"name": name, "n": next(iter(both.values()))["n"], "of": "folds", "metrics": both}
            for name, both in totals.items()]  # fmt: skip
    rule = over_folds(rule_rows(next(iter(first.values())).found))
    rows.append({"name": "no network", "n": rule["n"], "of": "folds", "metrics": {"rule": rule}})
    keys = _losses({loss: one for both in results.values() for loss, one in both.items()})
    note = "The paper prints the numbers of its pre-trained PSPNet alone; the other bars are not legible as numbers."
    return _publish(args, paper, "figure3", rows, keys, _head(args, paper, first, "Figure 3, Dice over folds", [note]))


def _contours(args: argparse.Namespace, paper: Mapping[str, Any], both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.papers.figures import contour_grid, lesion_slices
    from monai_isles.reports.canvas import png_bytes

    cases = lesion_slices({paper["columns"][loss]: (one.found, one.cases) for loss, one in both.items()}, SHOWN)
    picture = png_bytes(contour_grid(cases, note=_note(both)), max_bytes=300_000)
    publish(args.out / "figure4.png", lambda tmp: tmp.write_bytes(picture))
    return (
        f"{args.out / 'figure4.png'}: truth orange, focal red, cross-entropy cyan; out of fold, up to {SHOWN} scans at "
        "even ranks of the focal Dice, the slice with most lesion of each"
    )


def _note(both: Mapping[str, NetworkResult]) -> str:
    one = next(iter(both.values()))
    folds = f"folds of {len(one.cases)} scans"
    return f"{folds}; simulated data" if one.found.plan.simulated else folds


def _head(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    both: Mapping[str, NetworkResult],
    what: str,
    notes: Sequence[str],
) -> PaperHead:
    from monai_isles.papers.tables import PaperHead

    one = next(iter(both.values()))
    plan = one.found.plan
    split = f"{len(plan.folds)} folds by subject, each scan by a network that was not trained on it; {CHOSEN}"
    return PaperHead(title=f"{paper['cited']}, {what}", data=plan.data_name, simulated=plan.simulated,
                     n=len(one.cases), split=split, command=args.command, notes=notes)  # fmt: skip


def _publish(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    name: str,
    rows: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    head: PaperHead,
    tests: Sequence[Mapping[str, Any]] = (),
) -> str:
    from monai_isles.papers.published import published_tables
    from monai_isles.papers.tables import columns, publish_table

    headings = {loss: [title, 2, 1.0] for loss, title in {**paper["columns"], "rule": "rCBF < 30 %"}.items()}
    metrics = columns(keys, {**paper["headings"], **headings})
    published = published_tables(args.folder)[name]
    return publish_table(args.out, name, rows, published, metrics, head=head, tests=tests)


def _record(one: NetworkResult) -> dict[str, object]:
    return {"folder": one.found.folder.name, "overlays": list(one.found.plan.overlays), "total": over_folds(one.cases),
            "dice_by_fold": dice_by_fold(one.cases), "cases": {str(line["case"]): line["dsc"] for line in one.cases},
            "settings": one.found.plan.settings}  # fmt: skip
