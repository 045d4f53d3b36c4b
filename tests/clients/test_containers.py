"""The container recipe passes hadolint."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "containers/Dockerfile"


def test_hadolint_finds_nothing(client: Callable[..., str], record: Callable[..., None]) -> None:
    version = client("hadolint")
    done = subprocess.run(["hadolint", str(RECIPE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr
    record("hadolint", version, "containers/Dockerfile", "nothing found")
