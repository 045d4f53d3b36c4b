"""Every benchmark of a kernel runs quickly on a tiny task, agrees with its reference and writes JSON."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import search


@pytest.fixture(autouse=True)
def one_small_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lesion in a brain instead of a phantom scan: the phantom takes longer than the benchmark."""
    x, y, _ = np.ogrid[:64, :64, :2]
    near = np.hypot(x - 25, y - 30)
    head = (np.repeat(np.hypot(x - 32, y - 32) < 26, 2, axis=2), np.repeat(near < 9, 2, axis=2))
    for name in ("search", "surfaces"):
        monkeypatch.setattr(importlib.import_module(name), "scans", lambda number, slices: [head])


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("search", 4),
        ("surfaces", 2),
        ("startup", 1),
        pytest.param("deconvolution", 6, marks=pytest.mark.long),
        pytest.param("perfusion_accuracy", 20, marks=pytest.mark.long),
    ],
)
def test_a_quick_run_agrees(name: str, rows: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module(name).main(["--quick", "--rounds", "1", "--out", str(tmp_path)]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    kept = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    assert printed == kept and len(kept) == rows
    assert all(one.get("agreed", True) and one["quick"] for one in kept)


def test_the_plain_loop_and_monai_give_the_grid_that_ours_gives() -> None:
    pairs = [search.simulated_map(*search.scans(None, None)[0], seed) for seed in (0, 1)]
    found = search.ours(pairs)
    np.testing.assert_array_equal(search.plain(pairs), found)
    empty = [(np.zeros((5, 5, 2), np.float32), np.zeros((5, 5, 2), bool)), (pairs[0][0], np.zeros_like(pairs[0][1]))]
    np.testing.assert_array_equal(search.plain(empty), search.ours(empty))
    assert found.shape == (2, 54, 2) and (found[:, 0, 0] > 0).all()


def test_heads_go_to_the_child_process_unchanged(tmp_path: Path) -> None:
    registration = importlib.import_module("registration")
    (head,) = registration.heads(1, 1, first_seed=3)
    registration.saved(tmp_path / "heads.npz", [head])
    (again,) = registration.loaded(tmp_path / "heads.npz")
    np.testing.assert_array_equal(again.ct, head.ct)
    errors = [registration.registered(registration.ways()["rigid"], [one])[0][0] for one in (head, again)]
    assert errors[0] == pytest.approx(errors[1], abs=1e-6) and errors[0] < 2.0
    assert registration.failures([0.5, 2.5, float("inf")]) == 2


def test_each_change_of_a_series_is_what_it_says() -> None:
    robustness = importlib.import_module("robustness")
    rng = np.random.default_rng(0)
    label = np.zeros((41, 41, 2), bool)
    label[30:35, 18:23] = True  # its middle lies 12 voxels from that of the image
    series = rng.normal(40, 3, (41, 41, 2, 40)).astype(np.float32)
    scan = robustness.Scan(label * 50.0, series, label, np.eye(4), 1.5)
    made = {name: change(scan, np.random.default_rng(1)) for name, change in robustness.CHANGES.items()}
    assert made["unchanged"] is scan
    assert made["noise x 2"].series.std() == pytest.approx(6, abs=0.3) and made["noise x 2"].series.mean() > 39
    assert made["step x 2"].series.shape[-1] == 20 and made["step x 2"].dt_s == 3
    np.testing.assert_array_equal(made["last 30 % cut"].series, series[..., :28])
    turned = made["turned by 25 degrees"]
    across, ahead = np.argwhere(turned.label).mean(0)[:2] - 20
    assert np.hypot(across, ahead) == pytest.approx(12, abs=0.3)
    assert abs(np.degrees(np.arctan2(ahead, across))) == pytest.approx(25, abs=2)
    assert (turned.ct[turned.label] > 20).all() and turned.series.shape == series.shape


def test_without_scans_the_comparisons_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module("robustness").main([]) == importlib.import_module("nnunet").main([]) == 0
    assert capsys.readouterr().out.count("nothing done: --data names no scans") == 2


@pytest.mark.long
def test_the_parts_of_a_study_add_up_to_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module("study").main(["--quick", "--out", str(tmp_path)]) == 0
    (kept,) = [json.loads(line) for line in (tmp_path / "study.jsonl").read_text().splitlines()]
    assert sum(kept["parts_s"].values()) == pytest.approx(kept["whole_s"], abs=0.05)
    assert all(took > 0 for took in kept["parts_s"].values()) and len(kept["parts_s"]) == 17
