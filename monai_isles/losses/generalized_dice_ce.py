"""Generalized Dice loss plus cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sudre_dice_loss(probability: Tensor, reference: Tensor, *, power: float = 2.0) -> Tensor:
    """Return one minus the generalized Dice overlap, one value a sample.

    MONAI's class adds 1e-5 to numerator and denominator, which swamps the squared weights of large inputs; nothing
    is added here. A class absent from a sample takes the largest weight among the present ones.

    Shapes: ``(N, K, *spatial)`` probabilities and one-hot reference; ``(N,)`` out.
    Args:
        power: 2 weighs a class by one over its squared volume, 1 by one over its volume.
    Source: Sudre 2017 (doi:10.1007/978-3-319-67558-9_28), section 2.2.
    """
    volume = reference.flatten(2).sum(-1)
    weight = torch.where(volume > 0, volume.clamp_min(1.0).pow(-power), torch.zeros_like(volume))
    weight = torch.where(volume > 0, weight, weight.amax(dim=1, keepdim=True))
    overlap = (probability * reference).flatten(2).sum(-1)
    total = probability.flatten(2).sum(-1) + volume
    return 1.0 - 2.0 * (weight * overlap).sum(1) / (weight * total).sum(1)


class GeneralizedDiceCELoss(nn.Module):
    """Sum of the generalized Dice loss and the unweighted cross-entropy.

    Shapes: logits ``(N, K, *spatial)``, label ``(N, 1, *spatial)`` holding class numbers; a scalar out.
    Args:
        power: exponent of the class volume in the Dice weights; 2 in the paper, 1 in its released code.
        pooled: take the class volumes over the whole batch instead of sample by sample.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.1.
    """

    def __init__(self, power: float = 2.0, pooled: bool = False) -> None:
        super().__init__()
        self.power, self.pooled = power, pooled

    def extra_repr(self) -> str:
        return f"power={self.power}, pooled={self.pooled}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        classes = label[:, 0].long()
        cross_entropy = F.cross_entropy(logits, classes)
        probability = logits.float().softmax(1)
        reference = F.one_hot(classes, logits.shape[1]).movedim(-1, 1).to(probability.dtype)
        if self.pooled:
            probability, reference = (t.movedim(1, 0).flatten(1)[None] for t in (probability, reference))
        return cross_entropy + sudre_dice_loss(probability, reference, power=self.power).mean()
