"""The ablation table of a paper: our rows beside the published ones, the threshold rules, and the paired tests."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_isles.evaluation.compare import compare_rows
from monai_isles.metrics.overlap import RULES
from monai_isles.reports.tables import aligned

METRICS = ("dsc", "ppv", "sensitivity", "hd_mm")
TESTED = ("dsc", "hd_mm")
_TITLES = (
    "row",
    "T",
    "Smin",
    "n",
    "DSC %",
    "PPV %",
    "Sens %",
    "HD mm",
    "R2",
    "against",
    "p t",
    "p W",
    "DSC points (95 %)",
)


@dataclass(frozen=True)
class TableRow:
    """One line: its name, what it is (``ours``, ``published`` or ``threshold``), its summary and its cases.

    Args:
        chosen: pairs of threshold and smallest size, one unless the folds chose differently.
        scored: rows of ``per_case.csv``; empty for a published line.
        against: name of the line it is tested against, None for none.
    """

    name: str
    kind: str
    chosen: Sequence[tuple[float, int]]
    summary: Mapping[str, Any]
    scored: Sequence[Mapping[str, object]] = ()
    against: str | None = None


def paired_tests(rows: Sequence[TableRow], *, resamples: int = 2000, seed: int = 0) -> list[dict[str, object]]:
    """Return the tests of every line against the line it names: Dice and Hausdorff distance.

    Source: ``monai_isles.evaluation.compare.compare_rows``.
    """
    by_name = {row.name: row for row in rows if row.kind != "published"}
    return [
        {"row": row.name, "against": row.against,
         **compare_rows(by_name[row.against].scored, row.scored, metric=metric, resamples=resamples, seed=seed)}
        for row in rows if row.against in by_name for metric in TESTED
    ]  # fmt: skip


def ablation_csv(tables: Mapping[str, Sequence[TableRow]], tests: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return every line of every protocol as CSV; fractions for DSC, PPV and sensitivity, mm for the distance."""
    statistics = [f"{metric}_{what}" for metric in METRICS for what in ("mean", "sd", "ci_low", "ci_high", "n")]
    tested = [f"{metric}_{what}" for metric in TESTED for what in _TEST]
    names = ["protocol", "row", "kind", "threshold", "min_size_vox", "n", "subjects", *statistics,
             "hd_mm_imputed_mean", "r2", *_COUNTS, "against", *tested]  # fmt: skip
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n", restval="")
    table.writeheader()
    for protocol, rows in tables.items():
        for row in rows:
            line = {"protocol": protocol, **_flat(row)}
            for test in tests[protocol]:
                if test["row"] == row.name and row.kind != "published":
                    line |= {f"{test['metric']}_{key}": value for key, value in _test(test).items()}
            table.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in line.items() if v is not None})
    return text.getvalue()


def ablation_text(
    tables: Mapping[str, Sequence[TableRow]],
    tests: Mapping[str, Sequence[Mapping[str, Any]]],
    said: Mapping[str, str],
    notes: Sequence[str] = (),
    *,
    published_on: str = "ISLES 2018 training, n 94",
) -> str:
    """Return the tables to read, one a protocol, never mixed; counts and rules below.

    Args:
        published_on: the data of the published lines, and their n.
    """
    parts = []
    for protocol, rows in tables.items():
        grid = [list(_TITLES), *(_cells(row, tests[protocol]) for row in rows)]
        parts.append(f"== protocol {protocol}: {said[protocol]}")
        parts += [*aligned(grid), ""]
        parts += [_counted(row) for row in rows if row.kind != "published"] + [""]
    return "\n".join(
        [
            *parts,
            *_NOTES,
            _OTHERS.format(published_on),
            *notes,
            "rules:",
            *(f"  {name}: {rule}" for name, rule in RULES.items()),
        ]
    )


_COUNTS = ("empty_references", "empty_predictions", "undefined_distances")
_TEST = ("difference", "p_t", "p_wilcoxon", "p_t_subjects", "ci_low", "ci_high")
_NOTES = (
    "mean +- SD over cases. HD: over the cases where both masks hold a lesion, in mm; the paper names no unit.",
    "p t, p W: two-sided paired t-test and Wilcoxon test of Dice over cases, not corrected for the number of tests;",
    "tests over subjects' means are in tests.json. Interval of the mean difference: bootstrap over subjects.",
)
_OTHERS = "published: other cases ({}); to be read beside ours, not compared number by number."


def _flat(row: TableRow) -> dict[str, object]:
    metrics = row.summary["metrics"]
    line: dict[str, object] = {"row": row.name, "kind": row.kind, "against": row.against}
    line |= {"threshold": _pairs(row, 0), "min_size_vox": _pairs(row, 1)}
    line |= {key: row.summary.get(key) for key in ("n", "subjects", *_COUNTS)}
    for metric in METRICS:
        found = metrics[metric]
        low, high = found.get("ci95") or (None, None)
        line |= {f"{metric}_mean": found["mean"], f"{metric}_sd": found["sd"], f"{metric}_n": found["n"]}
        line |= {f"{metric}_ci_low": low, f"{metric}_ci_high": high}
    line |= {"hd_mm_imputed_mean": metrics["hd_mm"].get("imputed", {}).get("mean"), "r2": row.summary["volumes"]["r2"]}
    return line


def _test(test: Mapping[str, Any]) -> dict[str, object]:
    low, high = test["ci95"] or (None, None)
    cases, subjects = test["cases"], test["subjects"]
    values = (cases["mean"], cases["p_t"], cases["p_wilcoxon"], subjects["p_t"], low, high)
    return dict(zip(_TEST, values, strict=True))


def _cells(row: TableRow, tests: Sequence[Mapping[str, Any]]) -> list[str]:
    metrics = row.summary["metrics"]
    name = f"  {row.name}" if row.kind == "published" else row.name
    cells = [name, _pairs(row, 0), _pairs(row, 1), str(row.summary["n"])]
    cells += [_spread(metrics[metric], 100) for metric in METRICS[:3]] + [_spread(metrics["hd_mm"], 1)]
    cells.append(_plain(row.summary["volumes"]["r2"], 2))
    test = next((t for t in tests if t["row"] == row.name and t["metric"] == "dsc" and row.kind != "published"), None)
    if test is None:
        return [*cells, "", "", "", ""]
    low, high = test["ci95"] or (None, None)
    points = "-" if low is None else f"{100 * test['cases']['mean']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return [*cells, str(row.against), _p(test["cases"]["p_t"]), _p(test["cases"]["p_wilcoxon"]), points]


def _pairs(row: TableRow, part: int) -> str:
    return "/".join(dict.fromkeys(f"{pair[part]:g}" for pair in row.chosen))


def _spread(found: Mapping[str, Any], scale: float) -> str:
    if found["mean"] is None:
        return "-"
    return f"{scale * found['mean']:.1f} +- " + ("-" if found["sd"] is None else f"{scale * found['sd']:.1f}")


def _plain(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _counted(row: TableRow) -> str:
    counts = row.summary
    imputed = _plain(counts["metrics"]["hd_mm"]["imputed"]["mean"], 1)
    return (
        f"{row.name}: n {counts['n']} of {counts['subjects']} subjects, empty references {counts['empty_references']}, "
        f"empty predictions {counts['empty_predictions']}, undefined distances {counts['undefined_distances']} "
        f"(HD {imputed} mm with the diagonal in their place)"
    )
