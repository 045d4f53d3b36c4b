"""Cross-entropy weighted by the share of lesion in the training data."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused

PAPER, INVERSE = "paper", "inverse"


class WeightedCELoss(nn.Module):
    """Mean over all pixels of ``-w y log p - (1 - w) (1 - y) log(1 - p)``, ``w`` the share of lesion in training.

    Read literally, equation (4) favours the background: with 3 % lesion a missed lesion pixel costs 0.03 and a false
    alarm 0.97. ``reading="inverse"`` swaps the two weights, as a loss against imbalance would have them; it is not what
    the paper prints. The mean is over the number of pixels as in equation (3), not over the sum of weights.

    Shapes: logits ``(N, 2, *spatial)``, label ``(N, 1, *spatial)`` of 0 and 1; a scalar out.
    Args:
        lesion_share: voxels of lesion over all voxels of the training masks (``data.measured_lesion_share``).
        reading: ``"paper"``: ``w`` on the lesion; ``"inverse"``: ``1 - w`` on the lesion.
    Raises:
        IslesError: ``E-LOSS-22`` for a share outside 0..1 or another reading.
    Source: Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), equation (4);
        ``tests/losses/test_weighted_ce.py``.
    """

    def __init__(self, lesion_share: float, reading: str = PAPER) -> None:
        super().__init__()
        if not 0 <= lesion_share <= 1 or reading not in (PAPER, INVERSE):
            raise refused(
                "E-LOSS-22",
                where="WeightedCELoss",
                found=f"lesion_share={lesion_share}, reading={reading!r}",
                paper=PAPER,
                inverse=INVERSE,
            )
        self.lesion_share, self.reading = float(lesion_share), reading

    def extra_repr(self) -> str:
        return f"lesion_share={self.lesion_share:.6g}, reading={self.reading!r}"

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        lesion = self.lesion_share if self.reading == PAPER else 1 - self.lesion_share
        cost = F.cross_entropy(logits, label[:, 0].long(), reduction="none")
        truth = label[:, 0].to(cost.dtype)
        return (cost * (lesion * truth + (1 - lesion) * (1 - truth))).mean()
