"""The losses of Abulnaga 2018: softmax focal loss (cross-entropy for gamma 0) and weighted cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused


class SoftmaxFocalLoss(nn.Module):
    """Average over all pixels ``-alpha_t (1 - p_t)^gamma log p_t``, ``p_t`` the softmax probability of the true class.

    Equation (5) over the two classes of a softmax, averaged as equation (3); ``gamma=0`` without ``alpha`` is the plain
    cross-entropy. The mean is over the number of pixels and ignores the weights.

    Shapes: logits ``(N, K, *spatial)``, label ``(N, 1, *spatial)`` holding class numbers; a scalar out.
    Args:
        gamma: how strongly well classified pixels are weighted down; not negative.
        alpha: one weight a class, background first; none when None. Clerigues 2020 takes ``(0.25, 0.75)``.
    Raises: ``E-LOSS-20`` for a negative ``gamma`` or ``alpha``, ``E-LOSS-21`` for logits of another number of classes
    than ``alpha``.
    Source: Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), equations (3) and (5), gamma 1; Lin 2017
        (arXiv:1708.02002), equation (5), for alpha; ``tests/losses/test_focal.py``.

    >>> logits, label = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
    >>> round(float(SoftmaxFocalLoss(gamma=1.0)(logits, label)), 4)  # (1 - 0.5) * log 2
    0.3466
    """

    def __init__(self, gamma: float = 1.0, alpha: Sequence[float] | None = None) -> None:
        super().__init__()
        self.gamma, self.alpha = float(gamma), None if alpha is None else tuple(map(float, alpha))
        if not gamma >= 0 or not all(weight >= 0 for weight in self.alpha or ()):
            raise refused("E-LOSS-20", where="SoftmaxFocalLoss", found=f"gamma={gamma}, alpha={alpha}")

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        classes = label[:, :1].long()
        log_p = F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), 1).gather(1, classes)
        cost = -log_p
        if self.gamma:
            cost = cost * (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny).pow(self.gamma)
        if self.alpha is None:
            return cost.mean()
        if logits.shape[1] != len(self.alpha):
            result = f"alpha {self.alpha} for logits of {logits.shape[1]} classes"
            raise refused("E-LOSS-21", where="SoftmaxFocalLoss", found=result)
        return (cost * torch.tensor(self.alpha, dtype=logits.dtype, device=logits.device)[classes]).mean()


PAPER, INVERSE = "paper", "inverse"


class WeightedCELoss(nn.Module):
    """Average over all pixels ``-w y log p - (1 - w) (1 - y) log(1 - p)``, ``w`` the share of lesion in training.

    Read literally, equation (4) favours the background: with 3 % lesion a missed lesion pixel costs 0.03 and a false
    alarm 0.97. ``reading="inverse"`` swaps the two weights, as a loss against imbalance would have them; it is not what
    the paper prints. The mean is over the number of pixels as in equation (3), not over the sum of weights.

    Shapes: logits ``(N, 2, *spatial)``, label ``(N, 1, *spatial)`` of 0 and 1; a scalar out.
    Args:
        lesion_share: voxels of lesion over all voxels of the training masks (``data.measured_lesion_share``).
        reading: ``"paper"``: ``w`` on the lesion; ``"inverse"``: ``1 - w`` on the lesion.
    Raises: ``E-LOSS-22`` for a share outside 0..1 or another reading.
    Source: Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), equation (4).

    >>> logits, label = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
    >>> round(float(WeightedCELoss(lesion_share=0.25)(logits, label)), 4)  # 0.25 * log 2
    0.1733
    """

    def __init__(self, lesion_share: float, reading: str = PAPER) -> None:
        super().__init__()
        if not 0 <= lesion_share <= 1 or reading not in (PAPER, INVERSE):
            result = f"lesion_share={lesion_share}, reading={reading!r}"
            raise refused("E-LOSS-22", where="WeightedCELoss", found=result, paper=PAPER, inverse=INVERSE)
        self.lesion_share, self.reading = float(lesion_share), reading

    def extra_repr(self) -> str:
        return f"lesion_share={self.lesion_share:.6g}, reading={self.reading!r}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        lesion = self.lesion_share if self.reading == PAPER else 1 - self.lesion_share
        cost = F.cross_entropy(logits, label[:, 0].long(), reduction="none")
        truth = label[:, 0].to(cost.dtype)
        return (cost * (lesion * truth + (1 - lesion) * (1 - truth))).mean()
