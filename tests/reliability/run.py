"""Run the reliability list, print its four numbers and four rates, and write docs/reliability.md."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.reliability.cases import CASES, GROUPS, MUST_SIMPLY_WORK, STOCK_STACK, case_of

ROOT = Path(__file__).resolve().parents[2]

WANTED = 93
HEAD = """# Reliability

{total} bad inputs, faults and attacks, each with the outcome it must have (`tests/reliability`). Every case is a
test that builds the bad input and runs the real command in a child process. It passes if:

- the outcome and the exit code are as documented;
- the message has the code, the case or file, the finding and a fix, and no traceback;
- inputs, earlier outputs and the last checkpoint are unchanged, and no partial file is left;
- the command takes less than 30 s of processor time and 2 GiB, and asks for no network.

Exceptions: if the address space is nearly used up, a native library may crash before Python can report it (H11 judges
commands that end by themselves). With several processes SIGTERM goes back to the checkpoint of the last epoch; in one
process no iteration is lost (H14). DICOM objects of `predict-series` hold the patient's data, as DICOM requires (I13
searches all other files; `--no-dicom` writes none).

`make reliability` writes this page. It takes {minutes:.0f} minutes here and fails if a result is silently wrong,
something is lost or torn, or fewer than {wanted} cases pass.

| | |
|---|---|
| pass | **{passed} of {total}** |
| silently wrong | **{silent}** |
| lost or torn | **{partial}** |
| median seconds of a case's longest command | {median:.1f} |
| largest memory of a command | {peak:.0f} MiB |

The stock stack (bare calls of MONAI 1.6.1, nibabel and ITK), measured on 87 of the cases: {stock}.

## Rates

{rates}

## Cases

Seconds and memory are those of the longest and of the largest command of a case, libraries included (about 390 MiB of
them before a command begins).
"""


@dataclass
class Outcome:
    """What the tests of one case came to."""

    tests: int = 0
    verdicts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mib: float = 0.0
    words: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return ``silent``, ``partial``, ``fails``, ``not run`` or ``pass``; the worst of the tests counts."""
        if not self.tests:
            return "not run"
        return next((kind for kind in ("silent", "partial", "fails") if kind in self.verdicts), "pass")


class Recorder:
    """A pytest plugin that keeps, by case, how its tests ended and what their commands cost."""

    def __init__(self) -> None:
        self.outcomes = {case: Outcome() for case in CASES}
        self.others: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        case = case_of(name)
        ended = report.when == "call" or (report.failed or report.skipped)
        if case is None:
            if report.failed:
                self.others.append(report.nodeid)
            return
        if not ended:
            return
        one = self.outcomes[case]
        one.tests += report.passed or report.failed
        costs = [value for key, value in report.user_properties if key == "command"]
        one.seconds = max([one.seconds, *(cost["seconds"] for cost in costs)])
        one.peak_mib = max([one.peak_mib, *(cost["peak_mib"] for cost in costs)])
        if report.failed:
            one.verdicts.append(next(value for key, value in report.user_properties if key == "verdict"))
            lines = str(report.longrepr).splitlines()
            said = next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1] if lines else "")
            one.words.append(f"{name}: {said[:200]}")


def main() -> int:
    """Return 1 when a case is silently wrong or torn, or when too few pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/reliability.md", help="page to write")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)")
    parser.add_argument("--no-rates", action="store_true", help="leave the rates out; they take about five minutes")
    args = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    started, recorder = time.monotonic(), Recorder()
    os.chdir(ROOT)
    words = ["tests/reliability", "-q", "-p", "no:cacheprovider", "-n", str(args.workers), "--dist", "worksteal"]
    pytest.main(words, plugins=[recorder])
    rates = {} if args.no_rates else _rates()
    numbers = _numbers(recorder, (time.monotonic() - started) / 60)
    print(_summary(recorder, numbers, rates))
    if not args.no_rates:
        args.out.write_text(page(recorder.outcomes, numbers, rates), encoding="utf-8")
    faulty = [name for name, text in rates.items() if text.startswith("FAULT")]
    bad = numbers["silent"] or numbers["partial"] or numbers["passed"] < WANTED or faulty or recorder.others
    return int(bool(bad))


def _rates() -> dict[str, str]:
    """Measure in a process of its own, which has not trained."""
    from tests.reliability.rates import rates

    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(rates, Path(scratch)).result()


def _numbers(recorder: Recorder, minutes: float) -> dict[str, float]:
    verdicts = [one.verdict for one in recorder.outcomes.values()]
    return {
        "total": len(CASES),
        "passed": verdicts.count("pass"),
        "silent": verdicts.count("silent"),
        "partial": verdicts.count("partial"),
        "median": statistics.median(one.seconds for one in recorder.outcomes.values()),
        "peak": max(one.peak_mib for one in recorder.outcomes.values()),
        "minutes": minutes,
    }


def _summary(recorder: Recorder, numbers: Mapping[str, float], rates: Mapping[str, str]) -> str:
    lines = [
        "",
        f"pass            {numbers['passed']} of {numbers['total']}",
        f"silent wrong    {numbers['silent']}",
        f"partial outputs {numbers['partial']}",
        f"median seconds  {numbers['median']:.2f}",
        *(f"{name}: {text}" for name, text in rates.items()),
    ]
    for case, one in recorder.outcomes.items():
        if one.verdict != "pass":
            lines += [f"{case} {one.verdict}: {CASES[case]}", *(f"    {words}" for words in one.words)]
    return "\n".join([*lines, *(f"beside the list: {name} fails" for name in recorder.others)])


def page(outcomes: Mapping[str, Outcome], numbers: Mapping[str, float], rates: Mapping[str, str]) -> str:
    """Return the text of the page."""
    items = "\n".join(f"- {name}: **{text}**" for name, text in rates.items())
    head = HEAD.format(**numbers, wanted=WANTED, stock=STOCK_STACK, rates=items)
    text = "\n".join(_wrap(line) for line in head.splitlines()) + "\n"
    for letter, title in GROUPS.items():
        cases = [case for case in CASES if case[0] == letter]
        passed = sum(outcomes[case].verdict == "pass" for case in cases)
        text += f"\n### {letter}. {title[0].upper() + title[1:]}: {passed} of {len(cases)}\n\n"
        text += "| id | case | outcome | tests | seconds | peak MiB |\n|---|---|---|---|---|---|\n"
        for case in cases:
            one = outcomes[case]
            simply = " (must simply work)" if case in MUST_SIMPLY_WORK else ""
            cost = f"{one.seconds:.1f} | {one.peak_mib:.0f}"
            text += f"| {case} | {CASES[case]}{simply} | {one.verdict} | {one.tests} | {cost} |\n"
    return text


def _wrap(line: str) -> str:
    """Return a line of prose within the width of the docs' pages; a list's item goes on below its text."""
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 120, subsequent_indent=indent, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main())
