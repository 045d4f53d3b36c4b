"""Choose the fastest form of a network for prediction: folded on a CPU, compiled or in 16 bits on request."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.inference.cpu.folded_res_unet import FoldedResUNet
from monai_isles.networks.asymmetric_res_unet import AsymmetricResUNet

_OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"freezing": True}


class CompiledWhole(nn.Module):
    """Compile a network for groups of ``windows``; run groups of another size without compilation."""

    def __init__(self, network: nn.Module, windows: int) -> None:
        super().__init__()
        require_compiler()
        self.network, self.windows = network, windows
        self.divisor = getattr(network, "divisor", 1)
        self._run = torch.compile(network.forward, dynamic=False, options=_OPTIONS)

    def forward(self, x: Tensor) -> Tensor:
        return (self._run if len(x) == self.windows else self.network)(x)


class CompiledParts(CompiledWhole):
    """Compile the two parts of a folded network; the second part runs once per dropout pass."""

    network: FoldedResUNet

    def __init__(self, network: FoldedResUNet, windows: int) -> None:
        super().__init__(network, windows)
        self.products = network.products
        self._fixed = torch.compile(network.fixed_part, dynamic=False, options=_OPTIONS)
        self._noisy = torch.compile(network.noisy_part, dynamic=False, options=_OPTIONS)

    def fixed_part(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:  # once per window
        """Run the levels above the first site of prediction dropout."""
        return (self._fixed if len(x) == self.windows else self.network.fixed_part)(x)

    # Repeated for every dropout pass, so compiled separately.
    def noisy_part(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Run the rest with the masks of the sites as arguments: a compiled network would keep the first ones."""
        masks: list[Any] = [site.mask for site in self.network.sites if site.active]
        return (self._noisy if len(x) == self.windows else self.network.noisy_part)(x, skips, masks)


def require_compiler() -> None:
    """Refuse to compile without a C++ compiler (``E-INF-41``)."""
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++", "cl")):
        raise refused("E-INF-41", where="--compile", found="no C++ compiler on the path")


PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def require_precision(precision: str) -> None:
    """Refuse a precision that is not known (``E-INF-40``)."""
    if precision not in PRECISIONS:
        raise refused("E-INF-40", where="precision", found=repr(precision), precisions=", ".join(PRECISIONS))


def fast_form(
    network: nn.Module, device: torch.device, precision: str = "fp32", *, compiled_for: int | None = None
) -> nn.Module:
    """Return the fastest form of a network with equal results up to rounding.

    On a CPU an ``AsymmetricResUNet`` in evaluation mode is folded. Any other network is returned unchanged; ``bf16``
    then means autocast.

    Args:
        compiled_for: number of windows per group to compile for; None does not compile.
    """
    form = network
    if device.type == "cpu" and not network.training and type(network) is AsymmetricResUNet:
        form = FoldedResUNet(network, PRECISIONS[precision])
    if compiled_for is None:
        return form
    return CompiledParts(form, compiled_for) if isinstance(form, FoldedResUNet) else CompiledWhole(form, compiled_for)
