"""torchrun starts the processes, and starts them again when one is lost; the curve is that of an undisturbed run."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import run

from monai_isles.data import make_datalist
from monai_isles.io import publish_json

ROOT = Path(__file__).parents[2]
FILES = ["bundles/clerigues/train.json", "bundles/clerigues/multi_gpu_train.json"]
SETTINGS = {"patches_per_case": 80, "validation_patches_per_case": 8, "validation_step": [64, 64], "batch_size": 4,
            "max_epochs": 4}  # fmt: skip


def torchrun(*words: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launcher, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "curves.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.long
def test_a_rank_killed_in_the_middle_is_replaced_and_the_curve_stays(
    phantom_folder: Path, tmp_path: Path, in_group: Callable
) -> None:
    publish_json(tmp_path / "list.json", make_datalist(phantom_folder, folds=2))
    settings = SETTINGS | {"data_list": str(tmp_path / "list.json"), "dataset_dir": str(phantom_folder)}

    def undisturbed(rank: int) -> None:
        os.chdir(ROOT)
        run(run_id="training", config_file=FILES, output_dir=str(tmp_path / "whole"), logging_file=False, **settings)

    in_group(undisturbed)
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    bundle = ["-m", "monai.bundle", "run", "training", "--config_file", str(FILES), *words]
    parent = torchrun("--max_restarts=2", *bundle, "--output_dir", str(tmp_path / "lost"))
    try:
        kill_one(parent, after=tmp_path / "lost/checkpoint-0001.pt")
        said, _ = parent.communicate(timeout=240)
    finally:
        parent.kill()
    assert parent.returncode == 0, said
    assert "resuming after epoch" in said
    assert rows(tmp_path / "lost") == rows(tmp_path / "whole") and len(rows(tmp_path / "whole")) == 4
    assert {p.name for p in (tmp_path / "lost").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def kill_one(parent: subprocess.Popen[str], after: Path) -> None:
    end = time.monotonic() + 120
    while not after.exists() and parent.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    ranks = [int(child) for child in children if b"monai.bundle" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(ranks) == 2
    os.kill(max(ranks), signal.SIGKILL)
