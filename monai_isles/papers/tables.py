"""Print our rows and those of a paper, with tests and the sentences that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from monai_isles.errors import refused
from monai_isles.evaluation.compare import PS
from monai_isles.io.publish import publish_json, publish_text
from monai_isles.reports.page import environment
from monai_isles.reports.tables import METRICS, Column, Row, as_lines, cell, in_ascii, statistics

LEVEL = 0.05
_P_NAMES = [f"{kind}{more}" for kind in PS for more in ("", "_holm")]
_HEADINGS = {k: (m["paper"], m["paper_digits"], m.get("scale", 1.0)) for k, m in METRICS.items() if "paper" in m}
_WORDS = {key: (item["word"], item.get("scale", 1.0), item["unit"]) for key, item in METRICS.items() if "word" in item}
_NOTES = (
    "mean +- sd over cases, or over what the n column names; (n ...) where a metric is defined on fewer.",
    "published: printed by the paper, measured on its own data; to be read beside ours, not compared number by number.",
)
_TESTS = (
    "Paired over the same cases: t-test and Wilcoxon signed-rank test, two-sided; difference: the row minus the one it "
    "is tested against; interval by drawing subjects. p: not corrected; Holm: corrected over the {count} tests of this "
    "table, each kind by itself. "
)
_ONE_TRAINING = "One training a row: chance between trainings is not in the p."
_TRAININGS = "Tested: the mean of each case over the trainings. sd: of the difference, between trainings."


@dataclass(frozen=True)
class PaperHead:
    """Hold the facts above a table; ``split`` is the part of the data, ``command`` makes the table again."""

    title: str
    data: str
    simulated: bool
    n: int
    split: str
    command: str
    notes: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """Return the three lines above a table."""
        kind = "simulated data, not patients" if self.simulated else "data as given, not simulated"
        return [self.title, f"{self.data} ({kind}), n {self.n}; {self.split}", f"command: {self.command}"]


def columns(keys: Sequence[str], own: Mapping[str, Sequence[Any]]) -> list[Column]:
    """Return the columns of some keys; ``own`` has a paper's headings by key."""
    known = {**_HEADINGS, **own}
    return [Column(key, *known.get(key, (key, 2))) for key in keys]


def method_grid(ours: Sequence[Row], published: Mapping[str, Row], metrics: Sequence[Column]) -> list[list[str]]:
    """Return the cells of a table, headings first: each of our rows, the published one below it, the others last.

    Args:
        ours: ``{"name": ..., **summarise(cases)}``; ``published`` names the row of the paper where it has another name,
            ``of`` what n counts (default: cases).
        published: one of ``published_tables``.
        metrics: a key that is not in the row's ``metrics`` is looked up in the row itself and its ``volumes``.
    """
    grid = [["row", "n", *(column.title for column in metrics)]]
    for kind, name, row in _lines(ours, published):
        shown = {"ours": name, "published": "  published", "alone": f"  published, no row of ours: {name}"}[kind]
        count = "-" if row.get("n") is None else f"{row['n']} {row.get('of', '')}".rstrip()
        cells = (cell(row, column).text.replace(" ± –", "") for column in metrics)
        grid.append([shown, count, *map(in_ascii, cells)])
    return grid


def paper_csv(ours: Sequence[Row], published: Mapping[str, Row], metrics: Sequence[Column], *, head: PaperHead) -> str:
    """Return the same lines as CSV, numbers unscaled; data, split and command stand on every line of ours."""
    lines = []
    for kind, name, row in _lines(ours, published):
        own = kind == "ours"
        line: dict[str, object] = {"table": head.title, "row": name, "kind": "ours" if own else "published"}
        line |= {"n": row.get("n"), "n_of": row.get("of", "cases") if row.get("n") is not None else None}
        line |= {key: row.get(key) for key in ("subjects", "empty_references", "empty_predictions")}
        for key, *_ in metrics:
            numbers = statistics(row, key)
            low, high = numbers.get("ci95") or (None, None)
            more = {"ci_low": low, "ci_high": high, "imputed_mean": numbers.get("imputed", {}).get("mean")}
            numbers = {what: numbers.get(what) for what in ("mean", "sd", "n", "unit")} | more
            line |= {f"{key}_{what}": value for what, value in numbers.items()}
        if own:
            line |= {"data": head.data, "simulated": head.simulated, "split": head.split, "command": head.command}
        lines.append(line)
    return _csv(lines)


def tests_grid(tests: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the cells of the tests' table, headings first; differences of fractions in points."""
    spread = ["sd"] if _of_trainings(tests) else []
    head = ["row", "against", "metric", "n", "difference (95 %)", *spread, "p t", "Holm", "p W", "Holm", "subjects",
            "p t", "Holm", "p W", "Holm"]  # fmt: skip
    grid = [head]
    for test in tests:
        cases, subjects = ([_p(test[unit].get(name)) for name in _P_NAMES] for unit in ("cases", "subjects"))
        mean, ends = test["cases"]["mean"], test["ci95"]
        title, scale, unit = _WORDS[test["metric"]]
        points = "-" if mean is None else f"{scale * mean:+.1f}"
        points += f" ({scale * ends[0]:+.1f} to {scale * ends[1]:+.1f})" if ends else ""
        n, of_subjects = str(test["cases"]["n"]), str(test["subjects"]["n"])
        between = [_spread(test)] if spread else []
        line = [test["row"], test["against"], f"{title}, {unit}", n, points, *between, *cases, of_subjects, *subjects]
        grid.append(line)
    return grid


def _of_trainings(tests: Sequence[Mapping[str, Any]]) -> bool:
    return any("spread" in test for test in tests)


def _spread(test: Mapping[str, Any]) -> str:
    """Return the standard deviation of a difference between trainings, in the unit of the difference."""
    return "-" if test["spread"] is None else f"{_WORDS[test['metric']][1] * test['spread']:.1f}"


def tests_csv(tests: Sequence[Mapping[str, Any]]) -> str:
    """Return the tests as CSV, one line a test, differences unscaled."""
    lines = []
    for test in tests:
        low, high = test["ci95"] or (None, None)
        line = {**{key: test[key] for key in ("row", "against", "metric")}, "ci_low": low, "ci_high": high}
        line |= {"spread": test["spread"]} if "spread" in test else {}
        for unit in ("cases", "subjects"):
            line |= {f"{unit}_{name}": test[unit].get(name) for name in ("n", "mean", *_P_NAMES)}
        lines.append(line)
    return _csv(lines)


def cases_csv(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return one line a row and case: the metrics that any table prints, and the volumes in ml."""
    keys = ("ppv", "sensitivity", "dsc", "hd_mm", "hd_vox", "assd_mm", "rve", "lesion_ml_ref", "lesion_ml_pred", "ssim",
            "local_ssim", "psnr_db", "local_psnr_db")  # fmt: skip
    own = ((name, case) for name, cases in lines.items() for case in cases)
    return _csv([{"row": name, **{key: case.get(key) for key in ("case", "subject", *keys)}} for name, case in own])


def sentences(
    tests: Sequence[Mapping[str, Any]],
    published: Mapping[str, Row] | None = None,
    r2: Mapping[str, float | None] | None = None,
) -> list[str]:
    """Return one sentence for each tested pair: metrics that differ, by how much, and undecided ones.

    A difference whose paired t-test over cases gives p below 0.05 is stated with its p and the corrected one; any other
    is called undecided, and so is one of several trainings that is no larger than its standard deviation between them.
    The numbers of the paper for the same pair follow. No test judges ``r2``, the agreement of the volumes by row.
    """
    text, agreement = [], r2 or {}
    for row, other in dict.fromkeys((test["row"], test["against"]) for test in tests):
        own = [test for test in tests if (test["row"], test["against"]) == (row, other)]
        decided = [test for test in own if _is_decided(test)]
        parts = [_difference_text(test) for test in decided]
        others = [_undecided_text(test) for test in own if test not in decided]
        parts += [f"undecided: {', '.join(others)}"] if others else []
        if agreement.get(row) is not None and agreement.get(other) is not None:
            parts.append(f"R2 {agreement[row]:.2f} after {agreement[other]:.2f}, not tested")
        text.append(f"{row} against {other}: {'; '.join(parts)}.{_theirs(published or {}, row, other, own)}")
    return text


def _is_decided(test: Mapping[str, Any]) -> bool:
    p, mean = test["cases"]["p_t"], test["cases"]["mean"]
    return p is not None and p < LEVEL and abs(mean) > (test.get("spread") or 0.0)


def publish_table(
    folder: Path,
    name: str,
    ours: Sequence[Row],
    published: Mapping[str, Row],
    metrics: Sequence[Column],
    *,
    head: PaperHead,
    tests: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write ``name.txt``, ``.csv`` and ``.html``, with tests also ``name_tests.json`` and ``.csv``; return the text."""
    grids, below = [method_grid(ours, published, metrics)], [*_NOTES, *head.notes]
    text = "\n".join([*head.lines, "", *as_lines(grids[0]), "", *below]) + "\n"
    words = sentences(tests, published, {str(row["name"]): row.get("volumes", {}).get("r2") for row in ours})
    if tests:
        grids.append(tests_grid(tests))
        counted = _TESTS.format(count=len(tests)) + (_TRAININGS if _of_trainings(tests) else _ONE_TRAINING)
        text += "\n" + "\n".join([*as_lines(grids[1]), "", counted, *(f"- {line}" for line in words)]) + "\n"
        publish_json(folder / f"{name}_tests.json", {"simulated": head.simulated, "tests": list(tests)})
        publish_text(folder / f"{name}_tests.csv", tests_csv(tests))
        below += [counted, *words]
    publish_text(folder / f"{name}.txt", text)
    publish_text(folder / f"{name}.csv", paper_csv(ours, published, metrics, head=head))
    page = environment().get_template("paper.html").render(head=head, grids=grids, below=below)
    publish_text(folder / f"{name}.html", page + "\n")
    return text


def _csv(lines: Sequence[Mapping[str, object]]) -> str:
    """Return lines as CSV without the columns that none of them fills."""
    shown = [{k: f"{v:.9g}" if isinstance(v, float) and v == v else v for k, v in line.items()} for line in lines]
    return pd.DataFrame(shown, dtype=object).dropna(axis=1, how="all").to_csv(index=False, lineterminator="\n")


def _lines(ours: Sequence[Row], published: Mapping[str, Row]) -> Iterator[tuple[str, str, Row]]:
    """Yield kind, name and row: each of ours with its published one, then the other published ones."""
    met = set()
    for row in ours:
        yield "ours", str(row["name"]), row
        wanted = row.get("published", row["name"])
        if wanted in published:
            met.add(wanted)
            yield "published", wanted, published[wanted]
        elif row.get("published") is not None:
            result = f"{wanted!r} among {', '.join(published) or 'no rows'}"
            raise refused("E-REP-10", where=str(row["name"]), found=result)
    yield from (("alone", name, row) for name, row in published.items() if name not in met)


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _difference_text(test: Mapping[str, Any]) -> str:
    title, scale, unit = _WORDS[test["metric"]]
    mean = scale * test["cases"]["mean"]
    direction = "higher" if mean > 0 else "lower"
    corrected = test["cases"].get("p_t_holm")
    after = "" if corrected is None else f", {_p(corrected)} corrected"
    after += _between(test)
    return f"{title} {abs(mean):.1f} {unit} {direction} (p {_p(test['cases']['p_t'])}{after})"


def _undecided_text(test: Mapping[str, Any]) -> str:
    title, scale, unit = _WORDS[test["metric"]]
    mean = test["cases"]["mean"]
    after = f"{_p(test['cases']['p_t'])}{_between(test)}"
    return f"{title} " + ("-" if mean is None else f"{scale * mean:+.1f} {unit} (p {after})")


def _between(test: Mapping[str, Any]) -> str:
    return f", sd {_spread(test)} between trainings" if "spread" in test else ""


def _theirs(published: Mapping[str, Row], row: str, other: str, own: Sequence[Mapping[str, Any]]) -> str:
    """Return the differences between the paper's means, for the metrics tested."""
    if row not in published or other not in published:
        return ""
    parts = []
    for metric in (item["metric"] for item in own):
        if metric == "hd_mm" and "hd_vox" in published[row]["metrics"]:
            metric = "hd_vox"  # the paper's own unit
        a, b = (statistics(published[name], metric)["mean"] for name in (row, other))
        title, scale, unit = _WORDS[metric]
        if a is not None and b is not None:
            parts.append(f"{title} {scale * (a - b):+.1f}" + ("" if scale == 100.0 else f" {unit}"))
    return f" Published means: {', '.join(parts)}." if parts else ""
