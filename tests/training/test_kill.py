"""A kill at any moment leaves checkpoints that can be read."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import torch

from monai_isles.io import load_state
from monai_isles.io.weights import publish_state
from tests.forked import run_forked


def save_for_ever(folder: Path) -> None:
    state = {"w": torch.randn(400_000)}
    for number in range(10_000):
        publish_state(folder / f"checkpoint-{number % 2:04d}.pt", state)


def test_after_kill_9_at_random_moments_every_checkpoint_loads(tmp_path: Path) -> None:
    draw, last = random.Random(0), tmp_path / "checkpoint-0001.pt"
    for _ in range(3):
        for path in tmp_path.iterdir():
            path.unlink()
        after = draw.uniform(0.0, 0.15)
        done = run_forked(save_for_ever, tmp_path, limit_s=60, kill_when=last.exists, kill_after_s=after)
        assert done.code == -signal.SIGKILL and not done.timed_out
        checkpoints = list(tmp_path.glob("checkpoint-*.pt"))
        assert len(checkpoints) == 2
        for path in checkpoints:
            assert load_state(path)["w"].shape == (400_000,)
