"""The form of a network that predicts: folded on a processor, in 16 bits on request."""

from __future__ import annotations

import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks.asymmetric_res_unet import AsymmetricResUNet
from monai_isles.inference.cpu.folded_res_unet import FoldedResUNet

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def require_precision(precision: str) -> None:
    """Refuse a precision that is not known (``E-INF-40``)."""
    if precision not in PRECISIONS:
        raise IslesError(
            "E-INF-40",
            "precision not known",
            where="precision",
            found=repr(precision),
            fix=f"use one of {', '.join(PRECISIONS)}",
        )


def predicting_form(network: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """Return the folded form of a network where there is one: a processor, evaluation, ``AsymmetricResUNet``.

    Any other network comes back as it is; ``bf16`` then means autocast.

    Source: ours; ``tests/inference/cpu/test_fast_form.py``.
    """
    if device.type != "cpu" or network.training or type(network) is not AsymmetricResUNet:
        return network
    return FoldedResUNet(network, PRECISIONS[precision])
