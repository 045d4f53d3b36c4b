"""The tool that says where the time goes, on a tiny prediction and a tiny training."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import where_time_goes
from stopwatch import Stopwatch

TOOLS = Path(__file__).parents[2] / "tools"


def steps(text: str) -> dict[str, float]:
    """Seconds by step of a printed table."""
    lines = [line for line in text.splitlines() if line[:46].strip()]
    start = next(number for number, line in enumerate(lines) if line.startswith("step "))
    return {line[:46].strip(): float(line[46:].split()[0]) for line in lines[start + 1 :]}


def test_a_prediction_is_divided_among_its_steps(phantom_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    case = next((phantom_folder / "TRAINING").iterdir())
    words = ["predict", str(case), "--threads", "1", "--set", "step=[64,64]", "mc_passes=1"]
    assert where_time_goes.main(words) == 0
    found = steps(capsys.readouterr().out)
    wanted = {"imports", "reading", "registration of the mirrored head", "network: forward", "writing", "report"}
    wanted |= {"preprocessing: SkullStripd", "windows: cutting, masks, accumulation", "postprocessing: Binarised"}
    assert wanted <= set(found) and all(found[step] > 0 for step in ("reading", "network: forward", "report"))
    wall = found.pop("wall")
    assert sum(found.values()) == pytest.approx(wall, abs=0.05)


@pytest.mark.filterwarnings("ignore")
def test_a_training_epoch_is_divided_among_its_steps(phantom_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    settings = ["patches_per_case=8", "batch_size=8", "validation_step=[64,64]"]
    assert where_time_goes.main(["train", str(phantom_folder), "--threads", "1", "--set", *settings]) == 0
    found = steps(capsys.readouterr().out)
    wanted = {"loader: patches of the training", "network: forward", "loss", "backward", "optimiser", "checkpoint"}
    wanted |= {"validation: network: forward", "validation: validate_volumes, metrics", "handler: Curves"}
    assert wanted <= set(found) and found["backward"] > 0 and found["validation: network: forward"] > 0
    wall = found.pop("wall")
    assert sum(found.values()) == pytest.approx(wall, abs=0.05)


def test_what_was_wrapped_is_put_back(phantom_folder: Path) -> None:
    before = torch.Tensor.backward
    watch = Stopwatch()
    watch.wrap(torch.Tensor, "backward", "backward")
    assert torch.Tensor.backward is not before
    watch.unwrap()
    assert torch.Tensor.backward is before


def test_a_second_counts_for_the_innermost_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch("outer"), watch("inner"):
        pass
    assert watch.seconds == {"inner": 3.0, "outer": 7.0}
    assert "70.0%" in watch.table(10.0, "rest") and watch.calls == {"inner": 1, "outer": 1}


def test_settings_without_a_value_are_refused() -> None:
    with pytest.raises(SystemExit, match="ID=VALUE"):
        where_time_goes.main(["predict", "somewhere", "--set", "step"])


def test_the_tool_does_not_stand_in_the_way_of_the_standard_library() -> None:
    script = "import cProfile, profile; print(profile.__file__); cProfile.run('1 + 1')"
    done = subprocess.run([sys.executable, "-c", script], cwd=TOOLS, capture_output=True, text=True, check=True)
    assert str(TOOLS) not in done.stdout.splitlines()[0] and "function calls" in done.stdout
