"""Abulnaga & Rubin 2018: Tables 1 and 2, Figures 3 and 4, and the ensemble of ten; every row cross-validated."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproduce_common import study_arguments, study_of

from monai_isles.cli.crossval import setting
from monai_isles.errors import EXIT_DONE, IslesError

if TYPE_CHECKING:
    from monai_isles.papers.abulnaga import NetworkResult, NetworkRow
    from monai_isles.papers.method_table import PaperHead

PAPER = "Abulnaga and Rubin 2018"
SCRATCH, PRETRAINED = "PSPNet (scratch)", "PSPNet (pre-trained)"
NETWORKS = {SCRATCH: ("pspnet", ()), "2D U-Net": ("unet2d", ("unet2d.json",)),
            "3D U-Net": ("unet3d", ("unet3d.json",)), "3D V-Net": ("vnet3d", ("vnet3d.json",))}  # fmt: skip
LOSSES = {"focal": "focal", "cross_entropy": "cross-entropy"}
SIX = (("dsc", "Dice", 2, 1.0), ("hd_mm", "Hausdorff, mm", 1, 1.0), ("assd_half_sum_mm", "ASSD, mm", 2, 1.0),
       ("ppv", "precision", 2, 1.0), ("sensitivity", "recall", 2, 1.0), ("avd_ml", "AVD, ml", 2, 1.0))  # fmt: skip
PAIR = (*((key, title, 2, 1.0) for key, title in LOSSES.items()), ("rule", "rCBF < 30 %", 2, 1.0))
CHOSEN = "the scored scans chose the epoch of their own fold's network, as in the paper"
SHOWN = 9


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the paper."""
    several = {"type": int, "nargs": "+", "default": []}
    parser.add_argument("--table", choices=(1, 2), **several, help="1: Dice by fold of PSPNet with focal loss and "
                        "cross-entropy; 2: their ensemble in the challenge's six metrics")  # fmt: skip
    parser.add_argument("--figure", choices=(3, 4), **several, help="3: every network with both losses; "
                        "4: contours on nine scans")  # fmt: skip
    parser.add_argument("--ensemble", action="store_true", help="train the ten networks and write ensemble/: a bundle "
                        "that fits them, with the list of their weights")  # fmt: skip
    parser.add_argument("--pretrained", type=Path, metavar="FILE", help="weights that PSPNet starts from; the tables "
                        "are then those of the pre-trained one")  # fmt: skip
    parser.add_argument("--pretrained-set", nargs="+", default=[], type=setting, metavar="KEY=VALUE",
                        help="settings of the pre-trained rows alone, as JSON")  # fmt: skip
    parser.add_argument("--pretrained-loss", nargs="+", default=list(LOSSES), choices=tuple(LOSSES), metavar="LOSS",
                        help="losses of the pre-trained rows (default: both); with one, the tables are those from "
                        "scratch")  # fmt: skip
    parser.add_argument("--unseen", type=Path, metavar="DIR", help="scans that no network trained on: Table 2 gets a "
                        "row of all ten on them (default: the list's test section, where it has masks)")  # fmt: skip
    study_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Cross-validate the rows that are needed, then write what was asked for.

    Raises:
        IslesError: ``E-REPR-22`` when nothing was asked for, and those of the rows.
    """
    from monai_isles.io import RunFolder
    from monai_isles.papers.abulnaga import run_network_row

    if not (args.table or args.figure or args.ensemble):
        raise IslesError("E-REPR-22", "nothing to reproduce", where="reproduce abulnaga",
                         found="no --table, --figure or --ensemble",
                         fix="ask for one: --table 1 2, --figure 3 4, --ensemble")  # fmt: skip
    started, study = time.monotonic(), study_of(args, "abulnaga")
    with RunFolder(args.out) as held:
        results: dict[str, dict[str, NetworkResult]] = {}
        for row in rows_of(args):
            print(f"== {row.architecture}, {row.loss}", file=sys.stderr, flush=True)
            results.setdefault(row.architecture, {})[row.loss] = run_network_row(study, row, args.out)
        texts = [text for text in _made(args, results) if text]
        record = {f"{name}, {loss}": _record(one) for name, both in results.items() for loss, one in both.items()}
        held.finish({"command": "reproduce", "minutes": round((time.monotonic() - started) / 60, 1), "rows": record})
    print("\n\n".join(texts))
    return EXIT_DONE


def rows_of(args: argparse.Namespace) -> list[NetworkRow]:
    """Return the rows that have to be trained for what was asked, PSPNet's first."""
    from monai_isles.papers.abulnaga import NetworkRow

    start = {"pretrained": None if args.pretrained is None else str(args.pretrained.absolute())}
    begun = start | dict(args.pretrained_set)
    wanted = {PRETRAINED: ("pspnet_pretrained", ())} if args.pretrained else {}
    alone = {} if args.pretrained and set(args.pretrained_loss) == set(LOSSES) else {SCRATCH: NETWORKS[SCRATCH]}
    wanted |= NETWORKS if 3 in args.figure else alone
    return [
        NetworkRow(f"{key}_{loss}", name, loss, (*overlays, f"{loss}.json"), begun if name == PRETRAINED else {})
        for name, (key, overlays) in wanted.items() for loss in (args.pretrained_loss if name == PRETRAINED else LOSSES)
    ]  # fmt: skip


def _made(args: argparse.Namespace, results: Mapping[str, Mapping[str, NetworkResult]]) -> list[str]:
    main = results[PRETRAINED if set(results.get(PRETRAINED, ())) == set(LOSSES) else SCRATCH]
    texts = [_table_1(args, main)] if 1 in args.table else []
    if 2 in args.table or args.ensemble:
        texts.append(_ensemble(args, main))
    if 2 in args.table:
        texts.append(_table_2(args, main))
    if 3 in args.figure:
        texts.append(_figure_3(args, results))
    if 4 in args.figure:
        texts.append(_figure_4(args, main))
    return texts


def _table_1(args: argparse.Namespace, both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.papers.abulnaga import dice_by_fold, over_folds

    rule = _rule(both)
    by_fold = {loss: dice_by_fold(one.cases) for loss, one in both.items()} | {"rule": dice_by_fold(rule)}
    counts = {fold: sum(line["fold"] == fold for line in both["focal"].cases) for fold in by_fold["focal"]}
    rows = [
        {"name": f"fold {place}", "n": counts[fold],
         "metrics": {name: {"mean": found[fold], "n": counts[fold]} for name, found in by_fold.items()}}
        for place, fold in enumerate(counts, start=1)
    ]  # fmt: skip
    total = {loss: over_folds(one.cases) for loss, one in both.items()} | {"rule": over_folds(rule)}
    rows.append({"name": "total", "n": len(counts), "of": "folds", "metrics": total})
    note = "Mean Dice of the scans of each fold; total: mean +- sd over folds. Our folds are not the paper's."
    return _publish(args, "table1", rows, PAIR, _head(args, both, "Table 1, Dice", [note]))


def _ensemble(args: argparse.Namespace, both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.io import publish_json
    from monai_isles.papers.fold_ensemble import ensemble_members, inference_of

    members = [one.found for one in both.values()]
    listed, folder = ensemble_members(members), args.out / "ensemble"
    publish_json(folder / "inference.json", inference_of(members[0].plan))
    weights = [str(one["weights"]) for one in listed]
    predict = f"monai-isles predict CASE_OR_DATA_DIR --bundle {folder} --weights {' '.join(weights)} --out PREDICTIONS"
    publish_json(folder / "ensemble.json", {"members": listed, "predict": predict})
    return (
        f"{len(listed)} networks, listed in {folder / 'ensemble.json'}; predict new scans with all of them:\n{predict}"
    )


def _table_2(args: argparse.Namespace, both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.evaluation.summary import summarise
    from monai_isles.papers.fold_ensemble import score_out_of_fold

    found = [one.found for one in both.values()]
    scored = {f"{LOSSES[loss]} alone, out of fold": one.cases for loss, one in both.items()}
    scored["ours: focal and cross-entropy network of the scan's own fold"] = score_out_of_fold(found)
    unseen, where = _unseen(args, both)
    if unseen:
        scored[f"ours: all {len(found) * len(found[0].plan.folds)} networks, scans of {where}"] = unseen
    rows = [{"name": name, **summarise(lines, seed=args.seed)} for name, lines in scored.items()]
    rows[-1]["published"] = "ours"
    rows.append({"name": "rCBF < 30 %, no network, the out-of-fold scans", **summarise(_rule(both), seed=args.seed)})
    notes = [
        "The published row is of ten networks on the test scans; an out-of-fold row has two networks a scan, those of "
        "its own fold, since the other eight were trained on it (the paper's 0.57 on the training board).",
        "ASSD: half the sum of the two mean surface distances; Hausdorff: the maximum; both over scans whose two masks "
        "hold a lesion. The published distances are in millions: what stood for a scan without one is not said.",
    ]
    return _publish(args, "table2", rows, SIX, _head(args, both, "Table 2, ensemble", notes))


def _unseen(args: argparse.Namespace, both: Mapping[str, NetworkResult]) -> tuple[list[dict[str, Any]], str]:
    from monai_isles.papers.fold_ensemble import score_unseen

    members = [one.found for one in both.values()]
    lines = score_unseen(members, args.out / "unseen", folder=args.unseen)
    return lines, args.unseen.name if args.unseen else "the test section"


def _figure_3(args: argparse.Namespace, results: Mapping[str, Mapping[str, NetworkResult]]) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.papers.abulnaga import over_folds
    from monai_isles.papers.figures import architecture_bars
    from monai_isles.reports import png_bytes

    totals = {name: {loss: over_folds(one.cases) for loss, one in both.items()} for name, both in results.items()}
    bars = [{"architecture": name.replace(" (", "\n("), "loss": LOSSES[loss], **total}
            for name, both in totals.items() for loss, total in both.items()]  # fmt: skip
    picture = png_bytes(architecture_bars(bars, note=_note(results)))
    publish(args.out / "figure3.png", lambda tmp: tmp.write_bytes(picture))
    rows = [{"name": name, "n": next(iter(both.values()))["n"], "of": "folds", "metrics": both}
            for name, both in totals.items()]  # fmt: skip
    rule = over_folds(_rule(next(iter(results.values()))))
    rows.append({"name": "no network", "n": rule["n"], "of": "folds", "metrics": {"rule": rule}})
    note = "The paper prints the numbers of its pre-trained PSPNet alone; the other bars are not legible as numbers."
    head = _head(args, next(iter(results.values())), "Figure 3, Dice over folds", [note])
    return _publish(args, "figure3", rows, PAIR, head)


def _figure_4(args: argparse.Namespace, both: Mapping[str, NetworkResult]) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.papers.pictures import contour_grid, lesion_slices
    from monai_isles.reports import png_bytes

    cases = lesion_slices({LOSSES[loss]: one for loss, one in both.items()}, SHOWN)
    picture = png_bytes(contour_grid(cases, note=_note({"": both})), max_bytes=300_000)
    publish(args.out / "figure4.png", lambda tmp: tmp.write_bytes(picture))
    return (
        f"{args.out / 'figure4.png'}: truth orange, focal red, cross-entropy cyan; out of fold, up to {SHOWN} scans at "
        "even ranks of the focal Dice, the slice with most lesion of each"
    )


def _rule(both: Mapping[str, NetworkResult]) -> list[dict[str, Any]]:
    """Return the scored lines of rCBF < 30 % on the scans that the networks were scored on."""
    from monai_isles.papers.ablation import rule_rows

    return rule_rows(next(iter(both.values())).found)


def _note(results: Mapping[str, Mapping[str, NetworkResult]]) -> str:
    one = next(one for both in results.values() for one in both.values())
    folds = f"folds of {len(one.cases)} scans"
    return f"{folds}; simulated data" if one.found.plan.simulated else folds


def _head(args: argparse.Namespace, both: Mapping[str, NetworkResult], what: str, notes: Sequence[str]) -> PaperHead:
    from monai_isles.papers.method_table import PaperHead

    one = next(iter(both.values()))
    plan = one.found.plan
    split = f"{len(plan.folds)} folds by subject, each scan by a network that was not trained on it; {CHOSEN}"
    return PaperHead(title=f"{PAPER}, {what}", data=plan.data_name, simulated=plan.simulated, n=len(one.cases),
                     split=split, command=command_of(args), notes=notes)  # fmt: skip


def command_of(args: argparse.Namespace) -> str:
    """Return the command line that was given; folders outside the working folder stand as their option's name."""
    words = ["python tools/reproduce.py abulnaga"]
    words += [
        f"--{name} {' '.join(map(str, getattr(args, name)))}" for name in ("table", "figure") if getattr(args, name)
    ]
    words += ["--ensemble"] if args.ensemble else []
    for option in ("pretrained", "unseen", "data_list", "dataset_dir", "bundle", "out"):
        path = getattr(args, option)
        if path is not None:
            words.append(f"--{option.replace('_', '-')} {option.upper() if path.is_absolute() else path}")
    words += [f"--pretrained-set {' '.join(f'{k}={v}' for k, v in args.pretrained_set)}"] if args.pretrained_set else []
    one_loss = args.pretrained and set(args.pretrained_loss) != set(LOSSES)
    words += [f"--pretrained-loss {' '.join(args.pretrained_loss)}"] if one_loss else []
    words += [f"--overlay {' '.join(args.overlay)}"] if args.overlay else []
    words += [f"--set {' '.join(f'{key}={value}' for key, value in args.set)}"] if args.set else []
    return " ".join([*words, *([f"--seed {args.seed}"] if args.seed else [])])


def _publish(
    args: argparse.Namespace,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[tuple[str, str, int, float]],
    head: PaperHead,
) -> str:
    from monai_isles.io import publish_text
    from monai_isles.papers.method_table import paper_csv, paper_table
    from monai_isles.papers.published import published_tables

    printed = published_tables("abulnaga")[name]
    text = paper_table(rows, printed, metrics, head=head)
    publish_text(args.out / f"{name}.txt", text)
    publish_text(args.out / f"{name}.csv", paper_csv(rows, printed, metrics, head=head))
    return text


def _record(one: NetworkResult) -> dict[str, object]:
    from monai_isles.papers.abulnaga import dice_by_fold, over_folds

    return {"folder": one.found.folder.name, "overlays": list(one.found.plan.overlays), "total": over_folds(one.cases),
            "dice_by_fold": dice_by_fold(one.cases), "cases": {str(line["case"]): line["dsc"] for line in one.cases},
            "settings": one.found.plan.settings}  # fmt: skip
