"""What all benchmarks share: alternating rounds, ratios, agreement, records."""

from __future__ import annotations

import json
import math
import time
from argparse import Namespace
from pathlib import Path

import bench
import numpy as np
import pytest
import torch


@pytest.fixture
def args(tmp_path: Path) -> Namespace:
    return bench.begin(bench.arguments("One line."), ["--quick", "--out", str(tmp_path)])


def kept(args: Namespace, subject: str) -> list[dict]:
    return [json.loads(line) for line in (args.out / f"{subject}.jsonl").read_text().splitlines()]


def test_methods_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = [0.0]

    def method(name: str, seconds: list[float]) -> object:
        def call() -> str:
            calls.append(name)
            clock[0] += seconds[calls.count(name) - 1]
            return f"{name}{calls.count(name)}"

        return call

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    times = bench.alternate(
        {"slow": method("slow", [100, 4, 8, 6]), "fast": method("fast", [50, 2, 1, 3])}, 3, shares={"slow": 0.5}
    )
    assert calls == ["slow", "fast"] * 4
    assert times.medians == {"slow": 12.0, "fast": 2.0}  # half of the task took 6
    assert times.spreads == {"slow": pytest.approx(8 / 12), "fast": pytest.approx(1.0)}
    assert times.answers == {"slow": "slow4", "fast": "fast4"} and times.rounds["fast"] == [2, 1, 3]


def test_a_report_says_ratio_rate_floor_and_agreement(args: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    times = bench.timed({"loop": [4.0, 6.0, 5.0], "ours": [1.0, 1.0, 2.0]})
    agreed = bench.report(
        "x", "a row", times, args, difference=1e-7, tolerance=1e-6, wanted=4, flop=1e9, floor_s=0.25, floor="why", n=3
    )
    said = capsys.readouterr().out.splitlines()
    record = json.loads(said[-1])
    assert agreed and bench.outcome(agreed) == 0 and "at least 4 wanted" in said[1]
    assert record["ratio"] == 5.0 and record["ratio_least"] == 2.5 and record["ratio_most"] == 6.0
    assert record["gflops"] == 1.0 and 0 < record["peak_share"] < 1 and record["n"] == 3
    assert kept(args, "x") == [record] and record["quick"] and record["threads"] == 1


@pytest.mark.parametrize("difference", [2e-6, math.inf, math.nan])
def test_answers_that_differ_end_non_zero_and_slow_ones_do_not(args: Namespace, difference: float) -> None:
    times = bench.timed({"loop": [1.0], "ours": [10.0]})
    assert not bench.report("x", "r", times, args, difference=difference, tolerance=1e-6)
    assert bench.outcome(True, False) == 1
    assert bench.report("x", "r", times, args, difference=0, tolerance=0, wanted=100)


def test_a_row_of_the_same_name_takes_the_place_of_the_old(args: Namespace) -> None:
    for value in (1, 2):
        bench.keep({"subject": "x", "row": "a", "said": str(value)}, args)
    bench.keep({"subject": "x", "row": "b", "said": "3"}, args)
    assert [one["said"] for one in kept(args, "x")] == ["2", "3"]


def test_a_quick_run_leaves_the_committed_results_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results")
    quick = bench.begin(bench.arguments("One line."), ["--quick"])
    bench.keep({"subject": "x", "row": "a", "said": "1"}, quick)
    assert not bench.RESULTS.exists()
    bench.keep({"subject": "x", "row": "a", "said": "1"}, bench.begin(bench.arguments("One line."), []))
    assert (bench.RESULTS / "x.jsonl").is_file()


def test_growth_is_the_slope_on_logarithms(args: Namespace) -> None:
    assert bench.growth("x", "voxels", [(1, 3.0), (2, 12.0), (4, 48.0)], args) == pytest.approx(2.0)
    assert kept(args, "x")[0]["exponent"] == 2.0


def test_differences_know_nan_infinity_and_shapes() -> None:
    a = np.array([1.0, np.nan, np.inf])
    assert bench.largest_difference(a, torch.tensor([1.5, math.nan, math.inf])) == 0.5
    assert bench.largest_difference(a, [1.0, 2.0, np.inf]) == math.inf
    assert bench.largest_difference(a, a[:2]) == math.inf


def test_flops_of_a_product_and_of_a_convolution_are_by_hand() -> None:
    assert bench.flops(lambda: torch.ones(3, 4) @ torch.ones(4, 5)) == 2 * 3 * 4 * 5
    layer = torch.nn.Conv2d(2, 3, 3, padding=1)
    assert bench.flops(lambda: layer(torch.ones(1, 2, 8, 8))) == 2 * 8 * 8 * 2 * 3 * 9


def test_the_peak_is_measured_once() -> None:
    first = bench.peak_gflops(1)
    assert first > 0.1 and bench.peak_gflops(1) == first
