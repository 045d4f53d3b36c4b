"""Segmentation losses: generalized Dice plus cross-entropy, and the combined losses of the pseudo-DWI paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.losses import DeepSupervisionLoss, GeneralizedDiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused

# MONAI adds 1e-5 to numerator and denominator by default, which swamps the squared weights of large inputs.
_DICE: dict[str, Any] = {"to_onehot_y": True, "softmax": True, "smooth_nr": 0.0, "smooth_dr": 0.0}


class GeneralizedDiceCELoss(nn.Module):
    """Add the generalized Dice loss, one for each sample, and the unweighted cross-entropy.

    A class that is absent from a sample takes the largest weight among the present ones.

    Shapes: logits ``(N, K, *spatial)``, label ``(N, 1, *spatial)`` holding class numbers; a scalar out.
    Args:
        power: exponent of the class volume in the Dice weights: 2 in the paper, 1 in its released code.
        pooled: take the class volumes over the whole batch instead of sample by sample.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.1; Sudre 2017
    (doi:10.1007/978-3-319-67558-9_28), section 2.2, by ``monai.losses.GeneralizedDiceLoss``.

    >>> label = torch.tensor([[[[0.0, 1.0]]]])
    >>> logits = torch.tensor([[[[20.0, -20.0]], [[-20.0, 20.0]]]])
    >>> round(float(GeneralizedDiceCELoss()(logits, label)), 4)
    0.0
    """

    def __init__(self, power: float = 2.0, pooled: bool = False) -> None:
        super().__init__()
        self.power, self.pooled = power, pooled

    def extra_repr(self) -> str:
        return f"power={self.power}, pooled={self.pooled}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        weight = {1.0: "simple", 2.0: "square"}.get(self.power, str(self.power))  # MONAI refuses any other
        dice = GeneralizedDiceLoss(w_type=weight, batch=self.pooled, **_DICE)
        return F.cross_entropy(logits, label[:, 0].long()) + dice(logits.float(), label[:, :1])


class StagesLoss(nn.Module):
    """Add the losses of all decoder stages, each with half the weight of the finer one, or with ``weights``.

    Shapes: logits ``(N, K, *spatial)``, or ``(N, stages, K, *spatial)`` of a network with deep supervision; label
    ``(N, 1, *spatial)``; a scalar out.
    Source: ``monai.losses.DeepSupervisionLoss``; ``tests/losses/test_stroke_segmentation.py``.

    >>> stages, label = torch.zeros(1, 2, 1, 4, 4), torch.ones(1, 1, 4, 4)  # two stages, the finer one first
    >>> float(StagesLoss(nn.L1Loss())(stages, label))  # 1 + 1 / 2
    1.5
    """

    def __init__(self, loss: nn.Module, weights: list[float] | None = None) -> None:
        super().__init__()
        self.supervised = DeepSupervisionLoss(cast(Any, loss), weights=weights)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        return self.supervised(list(logits.unbind(1)) if logits.ndim > label.ndim else logits, label)


def lesion_weighted_ce(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the cross-entropy averaged with the weights of each image, then over images; plain when None.

    Shapes: logits ``(N, K, *spatial)``, label and weight ``(N, 1, *spatial)``; a scalar out.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (12); ``tests/losses/test_stroke_segmentation.py``.
    """
    cost = F.cross_entropy(logits.float(), label[:, 0].long(), reduction="none").flatten(1)
    if weight is None:
        return cost.mean()
    share = weight[:, 0].to(cost.dtype).flatten(1)
    return ((share * cost).sum(1) / share.sum(1).clamp_min(torch.finfo(cost.dtype).tiny)).mean()


class HardnessAwareGDLoss(nn.Module):
    """Average minus the logarithm of the generalized Dice overlap over images.

    A class weighs one over its squared volume in the image; a class that is absent takes the weight of the largest
    present one, so false alarms in an image without lesion still count.

    Shapes: logits ``(N, K, *spatial)``, label ``(N, 1, *spatial)`` holding class numbers; a scalar out.
    Args:
        aware: False for the generalized Dice loss itself, equation (14).
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equations (13) and (14); Sudre 2017.

    >>> label = torch.tensor([[[[0.0, 1.0]]]])
    >>> logits = torch.tensor([[[[20.0, -20.0]], [[-20.0, 20.0]]]])
    >>> abs(round(float(HardnessAwareGDLoss()(logits, label)), 4))
    0.0
    """

    def __init__(self, aware: bool = True) -> None:
        super().__init__()
        self.aware = aware

    def extra_repr(self) -> str:
        return f"aware={self.aware}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        loss = GeneralizedDiceLoss(reduction="none", **_DICE)(logits.float(), label[:, :1])
        # the addend keeps the loss of a total miss and its gradient finite
        return (-torch.log(1.0 - loss + 1e-7) if self.aware else loss).mean()


TERMS = ("ce", "wce", "dice", "gd", "hgd")


def squared_dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return one minus the lesion's soft Dice with squared denominators, averaged over images.

    Only in images without lesion, where the fraction would be 0 / 0, one is added to both of its sides.

    Shapes: logits ``(N, 2, *spatial)``, label ``(N, 1, *spatial)``; a scalar out.
    Source: Milletari 2016 (doi:10.1109/3DV.2016.79), section 3.
    """
    lesion = logits.float().softmax(1)[:, 1].flatten(1)
    truth = label[:, 0].to(lesion.dtype).flatten(1)
    empty = (truth.sum(1) == 0).to(lesion.dtype)
    return (1 - (2 * (lesion * truth).sum(1) + empty) / ((lesion**2).sum(1) + (truth**2).sum(1) + empty)).mean()


class StrokeSegmentationLoss(nn.Module):
    """Sum the chosen terms; the paper's own loss is ``("wce", "hgd")``, equation (11).

    ``ce`` cross-entropy, ``wce`` the same under the weight map (equation 12), ``dice`` Milletari's, ``gd`` generalized
    Dice (14), ``hgd`` hardness-aware generalized Dice (13).

    Shapes: logits ``(N, 2, *spatial)``; target ``(N, C, *spatial)`` with the lesion first and, for ``wce``, the weight
    map last (C = 2 or 3); a scalar out.
    Raises: ``E-LOSS-30`` for an unknown term or none, ``E-LOSS-31`` when ``wce`` finds no weight map.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), sections 3.3 and 4.2.4.

    >>> logits = torch.tensor([[[[20.0, -20.0]], [[-20.0, 20.0]]]])
    >>> label = torch.tensor([[[[0.0, 1.0]]]])
    >>> abs(round(float(StrokeSegmentationLoss(("ce", "gd"))(logits, label)), 4))
    0.0
    """

    def __init__(self, terms: Sequence[str] = ("wce", "hgd")) -> None:
        super().__init__()
        self.terms = tuple(terms)
        if not self.terms or not set(self.terms) <= set(TERMS):
            listed = ", ".join(TERMS)
            raise refused("E-LOSS-30", where="StrokeSegmentationLoss", found=f"terms {self.terms}", terms=listed)

    def extra_repr(self) -> str:
        return f"terms={self.terms}"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        label = target[:, :1]
        if "wce" in self.terms and target.shape[1] < 2:
            raise refused("E-LOSS-31", where="StrokeSegmentationLoss", found=f"target of {target.shape[1]} channel")
        result = {
            "ce": lambda: lesion_weighted_ce(logits, label),
            "wce": lambda: lesion_weighted_ce(logits, label, target[:, -1:]),
            "dice": lambda: squared_dice_loss(logits, label),
            "gd": lambda: HardnessAwareGDLoss(aware=False)(logits, label),
            "hgd": lambda: HardnessAwareGDLoss()(logits, label),
        }
        first, *remainder = (result[term]() for term in self.terms)
        return sum(remainder, start=first)
