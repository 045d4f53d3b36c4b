"""What every benchmark shares; not a benchmark itself.

A script measures a reference and ours alternately in one process and hands both to ``report``::

    parser = bench.arguments(__doc__)                       # --rounds, --quick, --threads, --out
    args = bench.begin(parser)                              # sets the threads
    times = bench.alternate({"loop": slow, "ours": fast}, args.rounds)
    apart = bench.largest_difference(times.answers["loop"], times.answers["ours"])
    work = bench.flops(lambda: network(image))              # or counted by hand
    agreed = bench.report("search", "T x Smin search", times, args, wanted=20, difference=apart, tolerance=1e-12)
    bench.growth("search", "cases", [(1, 0.04), (2, 0.08)], args)        # how a cost grows, with its exponent
    raise SystemExit(bench.outcome(agreed))                 # non-zero where answers differ; slow never fails

The first method is the reference and the last is ours unless ``reference=`` and ``ours=`` say otherwise. Every row is
printed for people and as one JSON line, and kept in ``benchmarks/results/<subject>.jsonl`` (with ``--quick`` only where
``--out`` says so), from which ``docs/make/performance_table.py`` writes the tables of ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

RESULTS = Path(__file__).parent / "results"


class Times(NamedTuple):
    """Seconds of alternating rounds.

    Args:
        medians: seconds a method, for the whole task where a method did a share of it.
        spreads: largest minus smallest over the median, a method.
        answers: what the last round returned, a method.
        rounds: seconds of each round, a method.
        shares: part of the task that one call did, a method; 1 where nothing was extrapolated.
    """

    medians: dict[str, float]
    spreads: dict[str, float]
    answers: dict[str, Any]
    rounds: dict[str, list[float]]
    shares: dict[str, float]


def arguments(doc: str, *, rounds: int = 3, threads: int = 1) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have, its description the first line of ``doc``."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"alternating rounds (default: {rounds})")
    parser.add_argument("--threads", type=int, default=threads, help=f"processor threads (default: {threads})")
    parser.add_argument("--quick", action="store_true", help="a tiny task in seconds; its ratios mean nothing")
    parser.add_argument("--out", type=Path, help=f"folder of the results (default: benchmarks/{RESULTS.name})")
    return parser


def begin(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line and set the threads of torch and of the linear algebra below numpy and scipy."""
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads, user_api="blas")
    return args


def alternate(
    methods: Mapping[str, Callable[[], Any]], rounds: int, *, shares: Mapping[str, float] | None = None
) -> Times:
    """Call the methods in turn, ``rounds`` times after one round that does not count; A B A B, so that both see the
    same machine.

    Args:
        shares: part of the task that one call of a method does, where it is not all: its seconds are divided by it.
    """
    parts = {name: float((shares or {}).get(name, 1.0)) for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    answers: dict[str, Any] = {}
    for turn in range(rounds + 1):
        for name, method in methods.items():
            answers.pop(name, None)
            begun = time.perf_counter()
            answers[name] = method()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append((time.perf_counter() - begun) / parts[name])
    return timed(seconds, answers, parts)


def timed(
    seconds: Mapping[str, Sequence[float]], answers: Mapping[str, Any] = {}, shares: Mapping[str, float] = {}
) -> Times:
    """Return ``Times`` of rounds that a script measured itself, for example in child processes."""
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    spreads = {name: (max(taken) - min(taken)) / medians[name] for name, taken in seconds.items()}
    rounds = {name: list(taken) for name, taken in seconds.items()}
    return Times(medians, spreads, dict(answers), rounds, {name: shares.get(name, 1.0) for name in seconds})


def largest_difference(wanted: Any, found: Any) -> float:
    """Return the largest absolute difference of two arrays or tensors, 0 where both are nan, infinite where one is."""
    a, b = (np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x, float) for x in (wanted, found))
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return math.inf
    other = ~np.isnan(a) & (a != b)
    return float(np.abs(a[other] - b[other]).max()) if other.any() else 0.0


def flops(call: Callable[[], object]) -> int:
    """Return the floating point operations of the matrix products and convolutions of one call."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        call()
    return counter.get_total_flops()


@functools.cache
def peak_gflops(threads: int, device: str = "cpu") -> float:
    """Return the best fp32 rate this machine reaches here: a matrix product of 1024, or a 3 x 3 convolution of 128
    channels, whichever is faster; measured once a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    size = 1024 if device == "cpu" else 8192
    a, image = torch.randn(size, size, device=device), torch.randn(8, 128, 64, 64, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(128, 128, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    calls = ((lambda: a @ a, 2.0 * size**3), (lambda: layer(image), 2.0 * 8 * 64 * 64 * 128 * 128 * 9))
    with torch.inference_mode():
        best = max(work / min(_seconds(call) for _ in range(8)) for call, work in calls)
    torch.set_num_threads(before)
    return best / 1e9


@functools.cache
def copy_gb_s(threads: int) -> float:
    """Return how fast this machine copies memory far beyond its caches, counting what is read and what is written."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    a = torch.ones(64 << 20)
    b = torch.empty_like(a)
    best = min(_seconds(lambda: b.copy_(a)) for _ in range(5))
    torch.set_num_threads(before)
    return 2 * a.numel() * 4 / best / 1e9


def machine() -> str:
    """Return what the numbers were measured on, without names of hosts."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = f"{len(names)} x {names[0]}" if names else model
    card = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{model}, torch {torch.__version__.split('+')[0]}{card}"


def report(
    subject: str,
    row: str,
    times: Times,
    args: argparse.Namespace,
    *,
    difference: float,
    tolerance: float,
    reference: str | None = None,
    ours: str | None = None,
    wanted: float | None = None,
    flop: float | None = None,
    floor_s: float | None = None,
    floor: str = "",
    device: str = "cpu",
    **more: object,
) -> bool:
    """Print one row of the performance table and keep it; return whether both answers agree.

    Args:
        subject, row: name of the results file, and of the row in it; a row of the same name is replaced.
        reference, ours: names in ``times``; the first and the last when None.
        difference, tolerance: what was measured between both answers, and what is allowed.
        wanted: the ratio asked for; printed beside the one found, never failed on.
        flop: floating point operations of ours, for GFLOP/s and the share of the peak.
        floor_s, floor: seconds that the arithmetic or the memory alone would take, and how that was reckoned.
        more: anything else worth keeping, in JSON's types.
    """
    names = list(times.medians)
    reference, ours = reference or names[0], ours or names[-1]
    slow, fast = times.medians[reference], times.medians[ours]
    ratios = [a / b for a, b in zip(times.rounds[reference], times.rounds[ours], strict=True)]
    agreed = bool(difference <= tolerance)
    record: dict[str, Any] = {
        "subject": subject, "row": row, "reference": reference, "ours": ours, "reference_s": _short(slow),
        "ours_s": _short(fast), "ratio": _short(slow / fast), "ratio_least": _short(min(ratios)),
        "ratio_most": _short(max(ratios)), "wanted": wanted, "spreads": _spreads(times, (reference, ours)),
        "shares": {name: _short(times.shares[name]) for name in (reference, ours) if times.shares[name] != 1},
        "agreed": agreed, "difference": _short(difference), "tolerance": tolerance,
    }  # fmt: skip
    if flop is not None:
        rate, peak = flop / fast / 1e9, peak_gflops(args.threads, device)
        record |= {"gflops": _short(rate), "peak_gflops": _short(peak), "peak_share": _short(rate / peak)}
    if floor_s is not None:
        record |= {"floor_s": _short(floor_s), "floor": floor}
    keep(record | more, args)
    return agreed


def growth(subject: str, what: str, points: Sequence[tuple[float, float]], args: argparse.Namespace) -> float:
    """Keep how seconds grow with something, ``points`` as (amount, seconds), and return the exponent of the fit
    ``seconds = c amount ** exponent``: 1 is proportional, 0 a cost that stays."""
    amounts, seconds = (np.log(column) for column in zip(*points, strict=True))
    exponent = float(np.polyfit(amounts, seconds, 1)[0]) if len(points) > 1 else math.nan
    pairs = [[_short(amount), _short(taken)] for amount, taken in points]
    row = f"growth with {what}"
    keep({"subject": subject, "row": row, "growth": what, "points": pairs, "exponent": round(exponent, 2)}, args)
    return exponent


def keep(record: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Print a record for people and as one JSON line, and put it into its subject's results, in place of the old."""
    record = dict(record) | {"machine": machine(), "threads": args.threads, "quick": args.quick}
    print(said(record))
    print(json.dumps(record, allow_nan=False, default=str), flush=True)
    folder = args.out or (None if args.quick else RESULTS)
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['subject']}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = {json.loads(line)["row"]: line for line in lines} | {record["row"]: json.dumps(record, default=str)}
    path.write_text("\n".join(rows.values()) + "\n", encoding="utf-8")


def said(record: Mapping[str, Any]) -> str:
    """Return a record as sentences."""
    title = f"{record['subject']}: {record['row']}"
    if "growth" in record:
        points = ", ".join(f"{amount:g}: {seconds:g} s" for amount, seconds in record["points"])
        return f"{title}: {points}; exponent {record['exponent']}"
    if "ratio" not in record:
        return f"{title}: {record['said']}" if "said" in record else title
    lines = [
        f"{title}: {record['reference']} {record['reference_s']:g} s, {record['ours']} {record['ours_s']:g} s",
        f"  ratio {record['ratio']:.3g} ({record['ratio_least']:.3g} to {record['ratio_most']:.3g})"
        + (f", at least {record['wanted']:g} wanted" if record["wanted"] else ""),
        f"  answers {'agree' if record['agreed'] else 'DIFFER'}: {record['difference']} apart, "
        f"{record['tolerance']:g} allowed",
    ]
    if record["shares"]:
        lines[0] += "".join(f" ({name} extrapolated from {part:.2%})" for name, part in record["shares"].items())
    if "gflops" in record:
        lines.append(f"  {record['gflops']:.4g} GFLOP/s, {record['peak_share']:.1%} of {record['peak_gflops']:.4g}")
    if "floor_s" in record:
        lines.append(f"  floor {record['floor_s']:g} s: {record['floor']}")
    return "\n".join([*lines, f"  {record['machine']}, threads {record['threads']}"])


def outcome(*agreed: bool) -> int:
    """Return the exit code of a benchmark: 1 where an answer differed."""
    return 0 if all(agreed) else 1


def _spreads(times: Times, names: Sequence[str]) -> dict[str, float]:
    return {name: _short(times.spreads[name]) for name in names}


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _short(value: float) -> float | str:
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)
