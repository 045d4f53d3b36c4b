"""Options of ``monai.bundle run`` are judged before the work; errors are four lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_isles.errors import IslesError
from monai_isles.training import plain_exits

UNET = Path(__file__).parents[2] / "bundles/unet"
pytestmark = pytest.mark.usefixtures("exits")


def run_with(monkeypatch: pytest.MonkeyPatch, *options: str, files: str = str(UNET / "train.json")) -> None:
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "training", "--config_file", files, *options])
    plain_exits()


@pytest.mark.parametrize(("options", "said"), [
    (["--max_epochs", "1.5"], r"--max_epochs\n  found 1.5\n  fix   give a whole number of at least 1"),
    (["--patience=0"], r"--patience\n  found 0\n"),
    (["--batch_size", "three"], r"--batch_size\n  found 'three'\n"),
    (["--val_interval", "None"], r"--val_interval\n  found None\n"),
    (["--seed", "-1"], r"--seed\n  found -1\n  fix   give a whole number of at least 0"),
    (["--min_delta", "a"], r"--min_delta\n  found 'a'\n  fix   give a number of at least 0"),
    (["--lr", "nan"], r"--lr\n  found 'nan'"),
    (["--held_out", "5"], r"--held_out\n  found 5\n  fix   give a list in quotes and brackets"),
    (["--held_out", "1,2"], r"--held_out\n  found \(1, 2\)"),
    (["--modalities", "ct"], r"--modalities\n  found 'ct'\n(?s:.*)cbf"),
    (["--maps", "[-1]"], r"--maps\n  found \[-1\]\n  fix   give a list in quotes and brackets(?s:.*)cbv"),
    (["--widths", "[8, 0]"], r"--widths\n  found \[8, 0\]\n(?s:.*)256"),
    (["--metric", "a"], r"--metric\n  found 'a'\n  fix   give one of val_dsc$"),
    (["--metric", "val_loss"], r"--metric\n  found 'val_loss'\n  fix   give one of val_dsc$"),
    (["--loss", "dice"], r"--loss\n  found 'dice'\n  fix   give one argument of it: "),
    (["--device", "auto"], r"--device\n  found 'auto'\n  fix   give one argument of it: --device#name VALUE"),
    (["--strict", "false"], r"--strict\n  found 'false'\n  fix   give True or False"),
    (["--output_dir", "2018"], r"--output_dir\n  found 2018\n(?s:.*)\./5"),
    (["--output_dir", "run #1"], r"--output_dir\n  found 'run #1'\n  fix   give a path without #"),
    (["--dataset_dir", "/c#/data"], r"--dataset_dir\n  found '/c#/data'\n"),
    (["--data_list", "a,b"], r"--data_list\n  found \('a', 'b'\)\n(?s:.*)\./a,b"),
])  # fmt: skip
def test_a_value_of_another_kind_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    with pytest.raises(IslesError, match=r"E-TRAIN-22(?s:.*)" + said):
        run_with(monkeypatch, *options)


def test_a_gpu_that_is_not_there_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(IslesError, match=r"E-RUN-20(?s:.*)--device cpu"):
        run_with(monkeypatch, "--device", "cuda")


@pytest.mark.parametrize("option", ["--pixel_mm", "--step_s"])
def test_a_pixel_or_a_step_is_above_zero(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    with pytest.raises(IslesError, match=rf"E-TRAIN-22(?s:.*){option}\n  found 0\n  fix   give a number above 0"):
        run_with(monkeypatch, option, "0", files=str(UNET.with_name("fusion") / "train.json"))


@pytest.mark.parametrize("grid", ["[-1]", "[0, 128]", "[96]"])
def test_a_grid_needs_two_sizes(monkeypatch: pytest.MonkeyPatch, grid: str) -> None:
    with pytest.raises(IslesError, match=r"E-TRAIN-22(?s:.*)--grid\n(?s:.*)\[96, 128\]"):
        run_with(monkeypatch, "--grid", grid, files=str(UNET.with_name("fusion") / "train.json"))


def test_values_that_fit_and_expressions_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fitting = "--max_epochs 2.0 --lr 1 --held_out [1,2] --fold all --strict --min_delta=1e-3 --bf16 true"
    nested = "--device cpu --optimizer#lr 0.1 --batch-size $2*2 --seed @fold --tracking mlflow --run_name x"
    run_with(monkeypatch, *fitting.split(), *nested.split(), "--metric", "val_dsc")
    pretrain = repr([str(UNET.with_name("abulnaga") / name) for name in ("train.json", "pretrain.json")])
    run_with(monkeypatch, "--metric", "val_loss", files=pretrain)
    run_with(monkeypatch, "--step", "16", files=str(UNET.with_name("clerigues") / "inference.json"))
    (tmp_path / "more.json").write_text('{"seed": "five"}')  # as crossval writes its settings
    with pytest.raises(IslesError, match=r"E-TRAIN-22(?s:.*)--seed\n  found 'five'"):
        run_with(monkeypatch, files=repr([str(UNET / "train.json"), str(tmp_path / "more.json")]))


def test_a_misspelt_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-02(?s:.*)where --max_epoch, --optimiser#lr\n(?s:.*)max_epochs"):
        run_with(monkeypatch, "--max_epoch", "5", "--optimiser#lr", "1")


@pytest.mark.parametrize(("target", "arguments", "said"), [
    ("monai_isles.losses.GeneralizedDiceCELoss", {"gama": 2}, "gama"),
    ("torch.optim.Adam", {"params": [torch.zeros(1)], "lr": -1}, "Invalid learning rate: -1"),
])  # fmt: skip
def test_an_argument_that_a_component_of_the_config_does_not_take_is_four_lines(
    capsys: pytest.CaptureFixture, target: str, arguments: dict, said: str
) -> None:
    config = ConfigParser({"made": {"_target_": target, **arguments}})
    with pytest.raises(RuntimeError) as caught:
        config.get_parsed_content("made")
    with pytest.raises(SystemExit, match="4"):
        sys.excepthook(RuntimeError, caught.value, None)
    text = capsys.readouterr().err
    assert text.startswith("E-INF-46: ") and f"where {target}\n" in text and said in text
