"""Xavier initialisation, as all networks of Wang 2020 have it."""

from __future__ import annotations

from torch import nn

from monai_isles.errors import IslesError

_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d, nn.Linear)


def xavier_(module: nn.Module) -> nn.Module:
    """Draw the weights of all convolutions and linear layers from Glorot's uniform distribution, zero their biases.

    Returns ``module`` itself, changed in place; normalisations stay as they are.
    Source: Glorot 2010 (AISTATS), equation 16, as used in Wang 2020, section 4.1.
    """
    for layer in module.modules():
        if isinstance(layer, _WEIGHTED):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def initialise_(module: nn.Module, init: str) -> None:
    """Initialise in place: "xavier", or "torch" to keep what PyTorch drew.

    Raises:
        IslesError: ``E-NET-40`` for another name.
    """
    if init not in ("xavier", "torch"):
        raise IslesError(
            "E-NET-40",
            "unknown initialisation",
            where=type(module).__name__,
            found=f"init {init!r}",
            fix="give 'xavier' or 'torch'",
        )
    if init == "xavier":
        xavier_(module)
