"""Compare networks over the same folds without a search: threshold 0.5, scores by fold, and their ensemble."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.bundle.configs import setting
from monai_isles.crossval.ensemble import ensemble_members, inference_of, score_out_of_fold, score_unseen
from monai_isles.errors import refused
from monai_isles.io.publish import publish_json
from monai_isles.papers.figures import architecture_bars, contour_grid, lesion_slices
from monai_isles.papers.study import (
    PaperRow,
    Request,
    Trained,
    against_last,
    mean_and_sd,
    paper_rows,
    rule_rows,
    train_scored,
)
from monai_isles.papers.tables import PaperHead

CHOSEN = "the scored scans chose the epoch of their own fold's network, as in the paper"
Columns = Mapping[str, Trained]
Results = dict[str, dict[str, Trained]]
Draw = Callable[[Request, str, Mapping[str, Any], Results, Columns], str]


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


def make(request: Request) -> tuple[list[str], dict[str, Any]]:
    """Cross-validate the needed rows and write the requested tables; return the texts and the record.

    Source: Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), section 5.1; ``tests/papers/test_by_folds.py``.
    """
    args, wanted = request.args, list(request.outputs)
    if not (wanted or args.ensemble):
        raise refused("E-REPR-22", where=f"reproduce {args.paper}", found="no --table, --figure or --ensemble")
    results: Results = {}
    for row in _rows(request):
        args.say(row)
        results.setdefault(row.name, {})[str(row.column)] = train_scored(request.study, row, args.out / row.key)
    whole = [both for name, both in results.items() if _is_pretrained(request, name) and len(both) > 1]
    others = [both for name, both in results.items() if not _is_pretrained(request, name)]
    main = [*whole, *others, *results.values()][0]
    ensemble = args.ensemble or any(what["draw"] == "ensemble" for _, what in wanted)
    texts = [_ensemble(args.out / "ensemble", main)] if ensemble else []
    texts += [DRAW[what["draw"]](request, name, what, results, main) for name, what in wanted]
    record = {}
    for name, loss, item in ((name, loss, item) for name, both in results.items() for loss, item in both.items()):
        totals = {"total": over_folds(item.cases), "dice_by_fold": dice_by_fold(item.cases)}
        record[f"{name}, {loss}"] = item.record("cases", folder=item.predictions.folder.name, **totals)
    return texts, record


def _rows(request: Request) -> list[PaperRow]:
    """Return the rows to train for the request, those of the main network first."""
    args, rows = request.args, paper_rows(request.study.bundle)
    first = [row for row in rows if row.name == rows[0].name]
    named = [row for row in rows if any(row.has_name(name) or row.column == name for name in args.rows)]
    whole = args.pretrained and set(args.pretrained_loss) >= {str(row.column) for row in first if not row.optional}
    compared = any(what["draw"] == "architectures" for _, what in request.outputs)
    wanted = rows if compared else [] if whole else first
    start: dict[str, object] = {"pretrained": str(args.pretrained.absolute())} if args.pretrained else {}
    begun = [
        replace(row, name=row.name.replace(*request.paper["pretrained"]), key=row.key.replace("_", "_pretrained_", 1),
                settings={**start, **dict(args.pretrained_set)})
        for row in first if args.pretrained and row.column in args.pretrained_loss
        and (not row.optional or row in named)
    ]  # fmt: skip
    return [*begun, *(row for row in rows if row in wanted and (not row.optional or row in named))]


def _is_pretrained(request: Request, name: str) -> bool:
    """Return whether a printed name is that of a network that starts from given weights."""
    return request.paper["pretrained"][1] in name


def dice_by_fold(cases: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the mean Dice of the scored scans of each fold."""
    folds = sorted({int(line["fold"]) for line in cases})
    return {fold: float(np.mean([line["dsc"] for line in cases if line["fold"] == fold])) for fold in folds}


def over_folds(cases: Sequence[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """Return mean, sd (n - 1) and n of the folds' mean Dice.

    Source: Abulnaga & Rubin 2018, Table 1, whose totals are these statistics of its five folds.
    """
    return mean_and_sd([*dice_by_fold(cases).values()])


def _by_fold(request: Request, name: str, what: Mapping[str, Any], results: Results, main: Columns) -> str:
    lines = {loss: item.cases for loss, item in main.items()}
    lines["rule"] = rule_rows(_first(main).predictions)[0]["rcbf30"]
    by_fold = {loss: dice_by_fold(cases) for loss, cases in lines.items()}
    rows: list[dict[str, Any]] = []
    for place, fold in enumerate(dice_by_fold(_first(main).cases), start=1):
        n = sum(line["fold"] == fold for line in _first(main).cases)
        means = {loss: {"mean": result[fold], "n": n} for loss, result in by_fold.items()}
        rows.append({"name": f"fold {place}", "n": n, "metrics": means})
    total = {loss: over_folds(cases) for loss, cases in lines.items()}
    rows.append({"name": "total", "n": len(rows), "of": "folds", "metrics": total})
    scored = {request.paper["columns"][loss]: item.cases for loss, item in main.items()}
    head = _head(request, what, main)
    return request.table(name, rows, [*lines], head, scored=scored, pairs=against_last(scored))


def _ensemble(folder: Path, main: Columns) -> str:
    members = [item.predictions for item in main.values() if not item.row.optional]
    listed = ensemble_members(members)
    publish_json(folder / "inference.json", inference_of(members[0].plan))
    weights = " ".join(str(item["weights"]) for item in listed)
    predict = f"monai-isles predict CASE_OR_DATA_DIR --bundle {folder} --weights {weights} --out PREDICTIONS"
    publish_json(folder / "ensemble.json", {"members": listed, "predict": predict})
    where = folder / "ensemble.json"
    return f"{len(listed)} networks, listed in {where}; predict new scans with all of them:\n{predict}"


def _ensemble_table(request: Request, name: str, what: Mapping[str, Any], results: Results, main: Columns) -> str:
    main = {request.paper["columns"][loss]: item for loss, item in main.items() if not item.row.optional}
    result, unseen = [item.predictions for item in main.values()], request.args.unseen
    scored = {f"{loss} alone, out of fold": item.cases for loss, item in main.items()}
    scored[f"ours: {' and '.join(main)} network of the scan's own fold"] = score_out_of_fold(result)
    tested = dict(scored)
    new = score_unseen(result, request.args.out / "unseen", folder=unseen)
    if new:
        where = unseen.name if unseen else "the test section"
        scored[f"ours: all {len(result) * len(result[0].plan.folds)} networks, scans of {where}"] = new
    rows = [request.line(title, cases) for title, cases in scored.items()]
    rows[-1]["published"] = what["row"]
    rows.append(request.rule_line(result[0], "no network, the out-of-fold scans"))
    keys = request.paper["published"][name]["columns"]
    head = _head(request, what, main)
    return request.table(name, rows, keys, head, scored=tested, pairs=against_last(tested))


def _architectures(request: Request, name: str, what: Mapping[str, Any], results: Results, main: Columns) -> str:
    totals = {title: {loss: over_folds(item.cases) for loss, item in both.items()} for title, both in results.items()}
    bars = [{"architecture": title.replace(" (", "\n("), "loss": request.paper["columns"][loss], **total}
            for title, both in totals.items() for loss, total in both.items()]  # fmt: skip
    first = next(iter(results.values()))
    request.picture(name, architecture_bars(bars, note=_first(first).note))
    rows: list[dict[str, Any]] = [{"name": title, "n": next(iter(both.values()))["n"], "of": "folds", "metrics": both}
            for title, both in totals.items()]  # fmt: skip
    rule = over_folds(rule_rows(_first(first).predictions)[0]["rcbf30"])
    rows.append({"name": "no network", "n": rule["n"], "of": "folds", "metrics": {"rule": rule}})
    keys = list(dict.fromkeys([*(loss for both in results.values() for loss in both), "rule"]))
    return request.table(name, rows, keys, _head(request, what, first))


def _contours(request: Request, name: str, what: Mapping[str, Any], results: Results, main: Columns) -> str:
    scored = {request.paper["columns"][loss]: (item.predictions, item.cases) for loss, item in main.items()}
    path = request.picture(name, contour_grid(lesion_slices(scored, what["cases"]), note=_first(main).note))
    return f"{path}: {what['caption']}"


DRAW: dict[str, Draw] = {
    "by_fold": _by_fold, "ensemble": _ensemble_table, "architectures": _architectures, "contours": _contours
}  # fmt: skip


def _first(columns: Columns) -> Trained:
    return next(iter(columns.values()))


def _head(request: Request, what: Mapping[str, Any], columns: Columns) -> PaperHead:
    result = _first(columns).predictions
    split = f"{len(result.plan.folds)} folds by subject, each scan by a network that was not trained on it; {CHOSEN}"
    return request.head(what["title"], result, split, what.get("notes", ()))
