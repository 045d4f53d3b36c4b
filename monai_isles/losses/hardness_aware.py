"""The generalized Dice loss that grows faster for hard images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.losses.generalized_dice_ce import sudre_dice_loss

_FLOOR = 1e-7


def hardness_aware(loss: Tensor) -> Tensor:
    """Return ``-log(1 - loss)``; 1e-7 under the logarithm keeps a total miss finite, and its gradient too.

    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (13).
    """
    return -torch.log(1.0 - loss + _FLOOR)


class HardnessAwareGDLoss(nn.Module):
    """Minus the logarithm of the generalized Dice overlap, averaged over images.

    A class weighs one over its squared volume in the image; a class that is absent takes the weight of the largest
    present one, so an image without lesion still costs its false alarms.

    Shapes: logits ``(N, K, *spatial)``, label ``(N, 1, *spatial)`` holding class numbers; a scalar out.
    Args:
        aware: False for the generalized Dice loss itself, equation (14).
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equations (13) and (14); Sudre 2017;
        ``tests/losses/test_hardness_aware.py``.
    """

    def __init__(self, aware: bool = True) -> None:
        super().__init__()
        self.aware = aware

    def extra_repr(self) -> str:
        return f"aware={self.aware}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        probability = logits.float().softmax(1)
        reference = F.one_hot(label[:, 0].long(), logits.shape[1]).movedim(-1, 1).to(probability.dtype)
        loss = sudre_dice_loss(probability, reference)
        return (hardness_aware(loss) if self.aware else loss).mean()
