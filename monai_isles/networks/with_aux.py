"""Turn on what a network can return beside its logits."""

from __future__ import annotations

import torch
from torch import nn


def with_aux(network: nn.Module, device: str | torch.device = "cpu") -> nn.Module:
    """Return the network itself on ``device``, set to return its synthetic images too where it makes any.

    Training and prediction want them; an exported graph does not, so the definition in a config leaves them off.
    Source: ours; ``tests/networks/test_with_aux.py``.
    """
    if hasattr(network, "return_aux"):
        network.return_aux = True
    return network.to(device)
