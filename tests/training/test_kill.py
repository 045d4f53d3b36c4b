"""A kill at any moment leaves checkpoints that can be read."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from monai_isles.io import load_state

CHILD = """
import sys, torch
from monai_isles.io import publish_state
state = {"w": torch.randn(400_000)}
for number in range(10_000):
    publish_state(sys.argv[1] + f"/checkpoint-{number % 2:04d}.pt", state)
    if number == 2:
        print("ready", flush=True)
"""


def test_after_kill_9_at_random_moments_every_checkpoint_loads(tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0.0, 0.15))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        kept = sorted(tmp_path.glob("checkpoint-*.pt"))
        assert len(kept) == 2 and all(load_state(path)["w"].shape == (400_000,) for path in kept)
