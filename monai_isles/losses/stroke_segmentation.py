"""The segmentation losses of the pseudo-DWI paper, one term or several."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.losses.hardness_aware import HardnessAwareGDLoss
from monai_isles.losses.lesion_weighted_ce import lesion_weighted_ce

TERMS = ("ce", "wce", "dice", "gd", "hgd")


def squared_dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return one minus the lesion's soft Dice with squared denominators, averaged over images.

    One is added to both sides of the fraction in images without lesion alone, where it would be 0 / 0.

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
    Args:
        terms: rows of Table 4.
    Raises:
        IslesError: ``E-LOSS-30`` for an unknown term or none, ``E-LOSS-31`` when ``wce`` finds no weight map.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), sections 3.3 and 4.2.4;
        ``tests/losses/test_stroke_segmentation.py``.
    """

    def __init__(self, terms: Sequence[str] = ("wce", "hgd")) -> None:
        super().__init__()
        self.terms = tuple(terms)
        if not self.terms or not set(self.terms) <= set(TERMS):
            raise IslesError(
                "E-LOSS-30",
                "no such segmentation loss",
                where="StrokeSegmentationLoss",
                found=f"terms {self.terms}",
                fix=f"name one or more of {', '.join(TERMS)}",
            )

    def extra_repr(self) -> str:
        return f"terms={self.terms}"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        label = target[:, :1]
        found = {
            "ce": lambda: lesion_weighted_ce(logits, label),
            "wce": lambda: lesion_weighted_ce(logits, label, self._weight(target)),
            "dice": lambda: squared_dice_loss(logits, label),
            "gd": lambda: HardnessAwareGDLoss(aware=False)(logits, label),
            "hgd": lambda: HardnessAwareGDLoss()(logits, label),
        }
        first, *rest = (found[term]() for term in self.terms)
        return sum(rest, start=first)

    def _weight(self, target: Tensor) -> Tensor:
        if target.shape[1] < 2:
            raise IslesError(
                "E-LOSS-31",
                "the weighted cross-entropy needs a weight map",
                where="StrokeSegmentationLoss",
                found=f"target of {target.shape[1]} channel",
                fix="put LesionWeightd into the chain and its map last in the target, or take the term ce",
            )
        return target[:, -1:]
