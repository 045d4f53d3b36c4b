"""The GPUs of this machine, as other processes are told about them."""

from __future__ import annotations

import os
from collections.abc import Mapping


def visible_devices(count: int, environment: Mapping[str, str]) -> list[str | None]:
    """Return the name of every GPU as ``CUDA_VISIBLE_DEVICES`` takes it; ``[None]`` (one at a time) below two.

    Args:
        count: GPUs that torch sees.
        environment: of this process, whose own choice is kept.
    """
    if count < 2:
        return [None]
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return list(named.split(",")[:count] if named else map(str, range(count)))


def devices_here() -> list[str | None]:
    """Return the GPUs that torch sees here, as ``visible_devices`` names them."""
    import torch

    return visible_devices(torch.cuda.device_count(), os.environ)
