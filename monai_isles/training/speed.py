"""Choose how a training computes its steps: precision, memory layout, compilation."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from monai_isles.errors import refused
from monai_isles.inference.cpu.fast_form import require_compiler
from monai_isles.training.distributed import world_size

_UNITS = ("amx_bf16", "avx512_bf16")
_WORTH_COMPILING = 4000
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class TrainingSpeed:
    """Hold how a training computes its steps; ``auto`` where this machine chose any of it.

    It is part of a checkpoint: a resume with another is refused unless it is ``auto``.
    """

    precision: str = "fp32"
    compiled: bool = False
    channels_last: bool = False
    auto: bool = field(default=False, repr=False, compare=False)


def training_speed(
    device: torch.device | str,
    batches: int,
    precision: str = "auto",
    compile: bool | str = "auto",
    memory_format: str = "auto",
) -> TrainingSpeed:
    """Choose how steps are computed; ``"auto"`` takes the fast form where measurements showed a gain.

    It pays on a CPU with 16-bit multiplication and a compiler, when the training may have at least four thousand
    batches: compiling takes one to three minutes, a step of the CT network 0.3 s. Such a training is 1.6 times
    as fast as a plain loop (``benchmarks/training.py --only fast``). On GPUs use MONAI's own ``amp``.

    Args:
        batches: steps of all epochs, should none stop the training before.
        precision: ``"fp32"``, ``"bf16"`` (``torch.autocast``; the weights stay in 32 bits) or ``"auto"``.
        compile: True, False or ``"auto"``; one process only.
        memory_format: ``"as_is"``, ``"channels_last"`` or ``"auto"``, which goes with the other two.
    Raises: ``E-TRAIN-70`` for another value, ``E-INF-41`` to compile without a compiler.

    >>> training_speed(torch.device("cpu"), batches=100)
    TrainingSpeed(precision='fp32', compiled=False, channels_last=False)
    """
    known = {"precision": ("fp32", "bf16", "auto"), "compile": (True, False, "auto"),
             "memory_format": ("as_is", "channels_last", "auto")}  # fmt: skip
    given = {"precision": precision, "compile": compile, "memory_format": memory_format}
    if wrong := [f"{name} {value!r}" for name, value in given.items() if value not in known[name]]:
        raise refused("E-TRAIN-70", where="training_speed", found=", ".join(wrong))
    pays = torch.device(device).type == "cpu" and has_bf16_units() and batches >= _WORTH_COMPILING and world_size() == 1
    pays = pays and shutil.which("g++") is not None
    if compile is True:
        require_compiler()
    half = precision == "bf16" or (precision == "auto" and pays)
    compiled = (compile is True or (compile == "auto" and pays)) and world_size() == 1
    last = memory_format == "channels_last" or (memory_format == "auto" and (half or compiled))
    return TrainingSpeed("bf16" if half else "fp32", compiled, last, auto="auto" in (precision, compile))


def has_bf16_units(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether this CPU has bf16 units; False if unknown."""
    return cpuinfo.exists() and any(f" {unit}" in cpuinfo.read_text() for unit in _UNITS)


class AutocastInferer(SimpleInferer):
    """Run the network at the precision of ``speed`` and return its output in single precision.

    MONAI's own ``amp`` supports CUDA only. bfloat16 has the range of single precision, so no gradient needs scaling.
    The compiled network takes batches of the first one's size; a smaller last batch runs without compilation.

    Args:
        bf16: short for ``TrainingSpeed("bf16")``; False without ``speed`` is MONAI's plain call, bit for bit.

    >>> AutocastInferer(bf16=True)(torch.ones(1, 2), nn.Linear(2, 1)).dtype
    torch.float32
    """

    def __init__(self, bf16: bool = False, speed: TrainingSpeed | None = None) -> None:
        super().__init__()
        self.speed = speed or TrainingSpeed("bf16" if bf16 else "fp32")
        self._compiled: Any = None
        self._shape: torch.Size | None = None

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, *args: object, **kwargs: object
    ) -> Any:
        form = network
        if self.speed.channels_last and inputs.ndim in _LAYOUTS:
            if self._shape is None:
                network.to(memory_format=_LAYOUTS[inputs.ndim])  # type: ignore[call-overload]
            inputs = inputs.contiguous(memory_format=_LAYOUTS[inputs.ndim])
        if self._shape is None:
            self._shape = inputs.shape
        if self.speed.compiled and network.training and inputs.shape == self._shape:
            if self._compiled is None:
                self._compiled = torch.compile(network, dynamic=False)
            form = self._compiled
        if self.speed.precision == "fp32":
            return super().__call__(inputs, form, *args, **kwargs)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            output = super().__call__(inputs, form, *args, **kwargs)
        return tree_map(lambda part: part.float() if isinstance(part, Tensor) else part, output)
