"""Compute the forward pass in bfloat16, on a processor or a GPU."""

from __future__ import annotations

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn


class AutocastInferer(SimpleInferer):
    """Run the network under ``torch.autocast`` and return what it returns in single precision.

    MONAI's own ``amp`` knows CUDA alone. bfloat16 has the range of single precision, so no gradient needs scaling.

    Args:
        bf16: False for a plain call, the same bits as MONAI's ``SimpleInferer``.
    Source: ours; ``tests/training/test_autocast_inferer.py``.
    """

    def __init__(self, bf16: bool = False) -> None:
        super().__init__()
        self.bf16 = bf16

    def __call__(self, inputs: Tensor, network: nn.Module, *args: object, **kwargs: object) -> object:
        if not self.bf16:
            return super().__call__(inputs, network, *args, **kwargs)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            output = super().__call__(inputs, network, *args, **kwargs)
        return _single(output)


def _single(output: object) -> object:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(_single(part) for part in output))
    return output
