"""Wang, Song et al. 2020: Tables 1 to 5 and Figures 7 and 10, every row trained alike on the local split."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reproduce_common import study_arguments, study_of

from monai_isles.errors import EXIT_DONE, IslesError

if TYPE_CHECKING:
    from monai_isles.papers.method_table import Metric, PaperHead
    from monai_isles.papers.split_run import SplitResult
    from monai_isles.papers.wang import SplitRow

PAPER = "Wang, Song et al. 2020"
Results = Mapping["SplitRow", "SplitResult"]
_DICE = ("dsc", "Dice %", 2, 100.0)
IMAGE = (("ssim", "SSIM", 2, 1.0), ("local_ssim", "local SSIM", 2, 1.0), ("psnr_db", "PSNR dB", 2, 1.0),
         ("local_psnr_db", "local PSNR dB", 2, 1.0), _DICE)  # fmt: skip
MASK = (("ppv", "precision %", 2, 100.0), ("sensitivity", "recall %", 2, 100.0), _DICE, ("hd_mm", "HD mm", 2, 1.0),
        ("assd_mm", "ASSD mm", 2, 1.0))  # fmt: skip
PARAMETERS, RVE = ("parameters_m", "parameters M", 2, 1.0), ("rve", "RVE", 2, 1.0)
METRICS: dict[int, tuple[Metric, ...]] = {1: IMAGE, 2: IMAGE, 3: (PARAMETERS, *MASK), 4: MASK, 5: (*MASK, RVE)}
TITLES = {1: "losses of the synthesis", 2: "inputs of the synthesis", 3: "networks", 4: "losses of the segmentation",
          5: "inputs of the segmentation"}  # fmt: skip
NOTES = {
    1: ["Pseudo-DWI from F_o; then, in the second half of the epochs, a U-Net with cross-entropy learns on it."],
    2: ["Loss w-L2 + l_h1; then, in the second half of the epochs, a U-Net with cross-entropy learns on the pseudo-DWI."
        " F_h*: extractor without its own supervision."],
    3: ["F_o, cross-entropy. Parameters are those of the networks trained here."],
    4: ["F_o, SLNet."],
    5: ["SLNet, L_WCE + L_HGD. (s): extractor, generator and SLNet one after another, each in a third of the epochs."],
}  # fmt: skip
LOCAL = "SSIM over the slices, local: the box of the lesion and 10 voxels around it; DWI scaled to 0..1 is the range."
FIGURES, MONTAGE = (7, 10), 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the paper."""
    several = {"type": int, "nargs": "+", "default": []}
    parser.add_argument("--table", choices=tuple(METRICS), **several, help="1: losses of the synthesis; 2: its inputs; "
                        "3: networks; 4: losses of the segmentation; 5: its inputs")  # fmt: skip
    parser.add_argument("--figure", choices=FIGURES, **several, help="7: pseudo-DWI beside the true one; "
                        "10: Dice and RVE by lesion size; both from the rows of Table 5")  # fmt: skip
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only these rows, as printed or as their "
                        "overlay is called: 'real DWI' fo")  # fmt: skip
    parser.add_argument("--split-seed", type=int, default=0, help="who is in which part (default: 0); a list whose "
                        "folds are the parts already keeps them")  # fmt: skip
    study_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, predict and score the rows that are needed, then write what was asked for.

    Raises:
        IslesError: ``E-REPR-30`` when nothing was asked for, ``E-REPR-31`` to ``E-REPR-35``, and those of the rows.
    """
    from monai_isles.io import RunFolder
    from monai_isles.papers.split_run import run_split, split_counts, split_list
    from monai_isles.papers.wang import chosen_rows, require_dwi, require_free

    if not (args.table or args.figure):
        raise IslesError("E-REPR-30", "nothing to reproduce", where="reproduce wang", found="no --table or --figure",
                         fix="ask for one: --table 1 2 3 4 5, --figure 7 10")  # fmt: skip
    tables = sorted({*args.table, *([5] if args.figure else [])})
    rows = chosen_rows(tables, args.rows)
    require_free(list(dict(args.set)))
    _require_pictures(args, rows)
    started, study = time.monotonic(), study_of(args, "wang")
    with RunFolder(args.out) as held:
        content = split_list(study, args.out, seed=args.split_seed)
        counts = split_counts(content)
        require_dwi(rows, content["training"])
        results: dict[SplitRow, SplitResult] = {}
        for row in rows:
            print(f"== Table {row.table}, {row.name} ({row.key})", file=sys.stderr, flush=True)
            results[row] = run_split(study, (row.key,), args.out / "split.json", args.out / row.key)
        texts = _made(args, results, counts)
        minutes = round((time.monotonic() - started) / 60, 1)
        record = {row.key: _record(one) for row, one in results.items()}
        held.finish({"command": "reproduce", "minutes": minutes, "split": counts, "rows": record})
    print("\n\n".join(texts))
    return EXIT_DONE


def _require_pictures(args: argparse.Namespace, rows: Sequence[SplitRow]) -> None:
    own = [row for row in rows if row.table == 5]
    wanted = {7: [row for row in own if row.synthesises], 10: own}
    without = [f"--figure {figure}" for figure in args.figure if not wanted[figure]]
    if without:
        raise IslesError("E-REPR-35", "the figure needs a row of Table 5 that is not among those asked for",
                         where=", ".join(without), found=f"--rows {' '.join(args.rows)}",
                         fix="add dwi_olh to --rows, or leave --rows out")  # fmt: skip


def _made(args: argparse.Namespace, results: Results, counts: tuple[int, int, int]) -> list[str]:
    texts = []
    lines = {row: _with_quality(row, one) for row, one in results.items()}
    for table in sorted(set(args.table)):
        texts.append(_table(args, table, results, lines, counts))
    if 7 in args.figure:
        texts.append(_figure_7(args, results, lines))
    if 10 in args.figure:
        texts.append(_figure_10(args, results, lines, counts))
    return texts


def _with_quality(row: SplitRow, one: SplitResult) -> list[dict[str, Any]]:
    from monai_isles.papers.pseudo_dwi_scores import pseudo_dwi_scores

    quality = pseudo_dwi_scores(one.found) if row.synthesises else {}
    return [{**line, **quality.get(str(line["case"]), {})} for line in one.cases]


def _table(
    args: argparse.Namespace,
    table: int,
    results: Results,
    lines: Mapping[SplitRow, list[dict[str, Any]]],
    counts: tuple[int, int, int],
) -> str:
    from monai_isles.evaluation.summary import summarise
    from monai_isles.io import publish_json, publish_text
    from monai_isles.papers.ablation import RULE, rule_rows
    from monai_isles.papers.pseudo_dwi_scores import QUALITY, spread
    from monai_isles.papers.split_run import parameters_m

    own = {row.name: row for row in results if row.table == table}
    rows = []
    for name, row in own.items():
        line = {"name": name, **summarise(lines[row], seed=args.seed)}
        if row.synthesises:
            line["metrics"] |= {key: spread([case[key] for case in lines[row]]) for key in QUALITY}
        if PARAMETERS in METRICS[table]:
            line["parameters_m"] = parameters_m(results[row].found.plan)
        rows.append(line)
    rule = rule_rows(next(iter(results.values())).found)
    rows.append({"name": f"{RULE}, no network", **summarise(rule, seed=args.seed)})
    notes = [*NOTES[table], *([LOCAL] if METRICS[table] is IMAGE else [])]
    head = _head(args, results, f"Table {table}, {TITLES[table]}", counts, notes)
    text = _publish(args, f"table{table}", rows, METRICS[table], head)
    tests = _tests(args, table, {name: lines[row] for name, row in own.items()})
    publish_json(args.out / f"table{table}_tests.json", {"simulated": head.simulated, "tests": tests})
    publish_text(args.out / f"table{table}_cases.csv", _cases_csv({name: lines[row] for name, row in own.items()}))
    if tests:
        text += "\n" + _tests_text(tests)
        publish_text(args.out / f"table{table}.txt", text)
    return text


def _tests(
    args: argparse.Namespace, table: int, lines: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    from monai_isles.evaluation.compare import compare_rows
    from monai_isles.papers.wang import AGAINST

    return [
        {"row": name, "against": other, **compare_rows(lines[other], own, metric="dsc", seed=args.seed)}
        for other in AGAINST[table] if other in lines for name, own in lines.items() if name != other
    ]  # fmt: skip


def _tests_text(tests: Sequence[Mapping[str, Any]]) -> str:
    from monai_isles.reports.tables import aligned

    grid = [["row", "against", "cases", "Dice points (95 %)", "p t", "p W", "subjects", "p t"]]
    for test in tests:
        cases, subjects, ends = test["cases"], test["subjects"], test["ci95"]
        points = "-" if cases["mean"] is None else f"{100 * cases['mean']:+.1f}"
        points += f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else ""
        ps = [_p(cases["p_t"]), _p(cases["p_wilcoxon"]), str(subjects["n"]), _p(subjects["p_t"])]
        grid.append([test["row"], test["against"], str(cases["n"]), points, *ps])
    said = "Paired over the same test scans: paired t-test, Wilcoxon signed-rank test; interval by drawing subjects."
    return "\n".join([*aligned(grid), "", said, "One training a row: chance between trainings is not in the p."]) + "\n"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _cases_csv(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    from monai_isles.papers.pseudo_dwi_scores import QUALITY

    keys = [key for key, *_ in (*MASK, RVE)] + ["lesion_ml_ref", "lesion_ml_pred"]
    keys += [key for key in QUALITY if any(key in case for own in lines.values() for case in own)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "case", "subject", *keys])
    for name, own in lines.items():
        for case in own:
            values = [f"{float(case[key]):.6g}" if key in case else "" for key in keys]
            table.writerow([name, case["case"], case["subject"], *values])
    return text.getvalue()


def _figure_7(args: argparse.Namespace, results: Results, lines: Mapping[SplitRow, list[dict[str, Any]]]) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.papers.pictures import pseudo_dwi_montage
    from monai_isles.papers.pseudo_dwi_scores import pseudo_dwi_slices
    from monai_isles.papers.wang import PROPOSED
    from monai_isles.reports import png_bytes

    able = [row for row in results if row.synthesises and row.table == 5]
    row = next((row for row in able if row.name == PROPOSED), able[-1])
    cases = pseudo_dwi_slices(results[row].found, lines[row], MONTAGE)
    note = f"{row.name}, test scans" + (", simulated data" if results[row].found.plan.simulated else "")
    picture = png_bytes(pseudo_dwi_montage(cases, note=note), max_bytes=300_000)
    publish(args.out / "figure7.png", lambda tmp: tmp.write_bytes(picture))
    return f"figure7.png: {row.name}, {len(cases)} test scans at even ranks of SSIM, the slice with most lesion of each"


def _figure_10(
    args: argparse.Namespace,
    results: Results,
    lines: Mapping[SplitRow, list[dict[str, Any]]],
    counts: tuple[int, int, int],
) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.metrics.volume import STRATA, size_stratum
    from monai_isles.papers.figures import size_group_boxes
    from monai_isles.papers.pseudo_dwi_scores import spread
    from monai_isles.papers.wang import PROPOSED
    from monai_isles.reports import png_bytes

    own = {row.name: lines[row] for row in results if row.table == 5}
    head = _head(args, results, "Figure 10, by size of the lesion", counts, ["Published: DWI^o,l,h."])
    boxes = [{"method": name, **case} for name, cases in own.items() for case in cases]
    picture = png_bytes(size_group_boxes(boxes, note="simulated data" if head.simulated else ""))
    publish(args.out / "figure10.png", lambda tmp: tmp.write_bytes(picture))
    rows = []
    for name, cases in own.items():
        for group in STRATA[1:]:
            found = [case for case in cases if size_stratum(float(case["lesion_ml_ref"])) == group]
            line = {"name": f"{name}, {group}", "n": len(found)} | ({"published": group} if name == PROPOSED else {})
            rows.append(line | {"metrics": {key: spread([case[key] for case in found]) for key in ("dsc", "rve")}})
    return _publish(args, "figure10", rows, (_DICE, RVE), head)


def _head(
    args: argparse.Namespace, results: Results, what: str, counts: tuple[int, int, int], notes: Sequence[str]
) -> PaperHead:
    from monai_isles.papers.method_table import PaperHead

    plan = next(iter(results.values())).found.plan
    trained, watched, tested = counts
    split = (f"test part of {trained}/{watched}/{tested} scans (training/validation/test) that splits no subject, the "
             f"validation part chose the epoch, {plan.max_epochs} epochs a row")  # fmt: skip
    return PaperHead(title=f"{PAPER}, {what}", data=plan.data_name, simulated=plan.simulated, n=tested, split=split,
                     command=command_of(args), notes=notes)  # fmt: skip


def command_of(args: argparse.Namespace) -> str:
    """Return the command line that was given; folders outside the working folder stand as their option's name."""
    words = ["python tools/reproduce.py wang"]
    for name in ("table", "figure"):
        words += [f"--{name} {' '.join(map(str, getattr(args, name)))}"] if getattr(args, name) else []
    words += [f"--rows {' '.join(repr(row) if ' ' in row else row for row in args.rows)}"] if args.rows else []
    for option in ("data_list", "dataset_dir", "bundle", "out"):
        path = getattr(args, option)
        if path is not None:
            words.append(f"--{option.replace('_', '-')} {option.upper() if path.is_absolute() else path}")
    words += [f"--overlay {' '.join(args.overlay)}"] if args.overlay else []
    words += [f"--set {' '.join(f'{key}={value}' for key, value in args.set)}"] if args.set else []
    words += [f"--split-seed {args.split_seed}"] if args.split_seed else []
    words += [f"--seed {args.seed}"] if args.seed else []
    return " ".join(words)


def _publish(
    args: argparse.Namespace,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Metric],
    head: PaperHead,
) -> str:
    from monai_isles.io import publish_text
    from monai_isles.papers.method_table import paper_csv, paper_table
    from monai_isles.papers.published import published_tables

    printed = published_tables("wang")[name]
    text = paper_table(rows, printed, metrics, head=head)
    publish_text(args.out / f"{name}.txt", text)
    publish_text(args.out / f"{name}.csv", paper_csv(rows, printed, metrics, head=head))
    return text


def _record(one: SplitResult) -> dict[str, object]:
    return {"overlays": list(one.found.plan.overlays), "settings": one.found.plan.settings, "training": one.training,
            "dice": {str(line["case"]): line["dsc"] for line in one.cases}}  # fmt: skip
