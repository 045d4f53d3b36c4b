"""The commands as a user types them, started cold; and what stands around every forked one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_isles.io import publish_json
from tests.reliability import gates
from tests.reliability.children import ROOT, Forks, Shown
from tests.reliability.conftest import BUNDLE, settings, training_command
from tests.reliability.forks import ASKED_FOR_A_NETWORK

ISLES, BUNDLE_RUN = (str(Path(sys.executable).with_name("monai-isles")),), (sys.executable, "-m", "monai.bundle")


def cold(*words: object) -> Shown:
    """Run a command as a user does: a new process, nothing imported before."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    given = tuple(str(word) for word in words)
    done = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300, check=False)
    return Shown(done.returncode, done.stdout + done.stderr, given)


@pytest.mark.long
def test_a_refused_prediction_is_four_lines_and_its_exit_code(
    case: Path, image_of: Callable, untrained_weights: Path, tmp_path: Path
) -> None:
    image_of(case, "CT_CBF").write_bytes(b"")
    shown = cold(*ISLES, "predict", case, *settings(untrained_weights), "--out", tmp_path / "out")
    gates.require_refusal(shown, exit_code=3, code="E-FILE-02", says=["case_7", "0 bytes"])
    gates.require_nothing_partial(tmp_path / "out")


@pytest.mark.long
def test_a_refused_training_is_four_lines_and_its_exit_code(folder: Path, data_list: Path, tmp_path: Path) -> None:
    data_list.write_text(data_list.read_text()[:-20])
    shown = cold(*BUNDLE_RUN, *training_command(folder, data_list, tmp_path / "run", epochs=1))
    gates.require_refusal(shown, exit_code=4, code="E-LIST-03", says=["list.json", "line "])
    gates.require_nothing_partial(tmp_path / "run")


def test_an_unsafe_bundle_ends_with_five(bundle_with: Callable) -> None:
    bundle = bundle_with(lambda config: config.update(device="$__import__('os').getcwd()"))
    gates.require_refusal(cold(*ISLES, "check", "--bundle", bundle), exit_code=5, code="E-SAFE-08", says=["device"])


def test_a_forked_command_says_what_a_cold_one_says(case: Path, run: Callable[..., Shown]) -> None:
    forked, started = run("check", case.parents[1]), cold(*ISLES, "check", case.parents[1])
    assert (forked.code, forked.text) == (started.code, started.text)


@pytest.mark.parametrize("words", [("check", BUNDLE.parent), ("check", "--bundle", BUNDLE)])
def test_no_command_asks_for_a_network(run: Callable[..., Shown], words: tuple[object, ...]) -> None:
    assert ASKED_FOR_A_NETWORK not in run(*words).text


def test_prediction_pages_and_exports_work_without_a_network(
    case: Path, predict: Callable[..., Shown], works: Callable[..., object], run: Callable[..., Shown], tmp_path: Path
) -> None:
    works(predict, case, "--bids", "--entropy")
    works(run, "export", BUNDLE, "--out", tmp_path / "export", "--no-graphs")


def test_the_guard_against_networks_sees_one(server: Forks, tmp_path: Path) -> None:
    script = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    publish_json(tmp_path / "asks.json", {"run": [f'$__import__("builtins").exec("{script}")']})
    shown = server.run("run", "--config_file", tmp_path / "asks.json", program="monai.bundle")
    assert shown.code != 0 and ASKED_FOR_A_NETWORK in shown.text
