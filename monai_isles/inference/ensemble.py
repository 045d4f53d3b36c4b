"""Average the predictions of several networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from monai_isles.inference.windows import WindowResult


class CaseInferer(Protocol):
    """What predicts a case: windows (``StepSlidingWindowInferer``) or whole slices (``WholeSliceInferer``).

    Args:
        spreads: whether one network alone gives an uncertainty; such an inferer also takes several networks at once.
    """

    spreads: bool

    def infer(self, inputs: Tensor, network: nn.Module, foreground: Tensor | None = None) -> WindowResult:
        """Return the maps of a batch of volumes."""


def ensemble_infer(
    inferer: CaseInferer, networks: Sequence[nn.Module], image: Tensor, foreground: Tensor | None
) -> WindowResult:
    """Return the mean probability of all networks and the deviation over their windows and passes together.

    The windows are the same for every network, so this equals averaging patch by patch as the paper does.

    Shapes: as ``StepSlidingWindowInferer.infer``.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.2.
    """
    if inferer.spreads:
        return inferer.infer(image, networks, foreground)
    results = [inferer.infer(image, network, foreground) for network in networks]
    probability = torch.stack([r.probability for r in results]).mean(0)
    squares = torch.stack([r.uncertainty**2 + r.probability[:, -1:] ** 2 for r in results]).mean(0)
    deviation = (squares - probability[:, -1:] ** 2).clamp_min(0).sqrt()
    extra = {name: torch.stack([r.extra[name] for r in results]).mean(0) for name in results[0].extra}
    return WindowResult(probability, deviation, results[0].windows, extra)
