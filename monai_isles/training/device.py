"""Choose the device of a run."""

from __future__ import annotations

import torch

from monai_isles.errors import IslesError


def pick_device(name: str = "auto") -> torch.device:
    """Return the named device; ``auto`` is the first GPU where there is one, else the CPU.

    Raises:
        IslesError: ``E-RUN-20`` when a GPU is asked for and none can be used.
    Source: ours; ``tests/training/test_device.py``.
    """
    gpu = torch.cuda.is_available()
    if name.startswith("cuda") and not gpu:
        raise IslesError(
            "E-RUN-20",
            "no GPU can be used",
            where=f"device {name!r}",
            found=f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices",
            fix="pass --device cpu, or install a CUDA build of torch and its driver",
        )
    return torch.device("cuda:0" if name == "auto" and gpu else "cpu" if name == "auto" else name)
