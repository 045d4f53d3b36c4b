"""The least-squares terms of a generator and its discriminators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Verdicts = Tensor | Sequence["Verdicts"]


def generator_ls_loss(fake: Verdicts) -> Tensor:
    """Return the mean of ``(D(fake) - 1)^2`` over every scale's verdict map, scales equal.

    Shapes: one map or a nest of maps, as ``monai.networks.nets.MultiScalePatchDiscriminator`` gives them; a scalar out.
    Source: Mao 2017 (arXiv:1611.04076), equation (9) with a = 0, b = c = 1, without the factor 1/2.
    """
    return _mean_square(fake, 1.0)


def discriminator_ls_loss(real: Verdicts, fake: Verdicts) -> Tensor:
    """Return half the sum of ``(D(real) - 1)^2`` and ``D(fake)^2``, scales equal. Shapes and source: as above."""
    return 0.5 * (_mean_square(real, 1.0) + _mean_square(fake, 0.0))


def _mean_square(verdicts: Verdicts, goal: float) -> Tensor:
    if isinstance(verdicts, Tensor):
        return ((verdicts.float() - goal) ** 2).mean()
    return torch.stack([_mean_square(one, goal) for one in verdicts]).mean()
