"""Clinical thresholds on rCBF and Tmax, as a module in the place of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import ThresholdOutput

TARGETS = ("core", "hypoperfused")


class ThresholdRule(nn.Module):
    """Score every voxel by the ratio of its relative flow or Tmax to the cut.

    The score ``1 / (1 + (value / cut) ** 4)``, mirrored for Tmax, is above one half exactly where the rule
    holds, and 0 outside the brain. It is a rank and no probability: another threshold on it is another cut. The module
    has no parameters.

    Shapes: ``(N, 3, *space)`` in: rCBF, Tmax, brain; logits ``(N, 2, *space)`` out, with ``return_aux`` a
    ``ThresholdOutput``. Units: rCBF 1 is the healthy side's mean; Tmax s; brain 0 or 1.

    Args:
        target: ``core`` or ``hypoperfused``, the class of the logits.
        core_rcbf, delay_s: core lies below this fraction, hypoperfused tissue above this Tmax.
        return_aux: return the scores of both rules too.

    Raises: ``E-NET-60`` another target, or cuts that are not above zero.

    Source: rCBF < 30 % and Tmax > 6 s, DEFUSE 3, doi:10.1056/NEJMoa1713973; the score is ours.

    >>> voxel = torch.tensor([0.2, 8.0, 1.0]).reshape(1, 3, 1, 1)  # rCBF 20 %, Tmax 8 s, in the brain
    >>> ThresholdRule("core")(voxel).argmax(1).item()
    1
    """

    def __init__(
        self, target: str = "core", core_rcbf: float = 0.30, delay_s: float = 6.0, return_aux: bool = False
    ) -> None:
        super().__init__()
        if target not in TARGETS or min(core_rcbf, delay_s) <= 0:
            result = f"target {target!r}, rCBF {core_rcbf:g}, Tmax {delay_s:g} s"
            raise refused("E-NET-60", where="ThresholdRule", found=result, targets=", ".join(TARGETS))
        self.target, self.core_rcbf, self.delay_s = target, float(core_rcbf), float(delay_s)
        self.steepness, self.least, self.outside, self.return_aux = 4.0, 1e-3, -120.0, return_aux

    def forward(self, x: Tensor) -> Tensor | ThresholdOutput:
        flow, delay, brain = x[:, 0:1], x[:, 1:2], x[:, 2:3]
        core = self._log_odds(self.core_rcbf / flow.clamp(min=self.least), brain)
        hypoperfused = self._log_odds(delay.clamp(min=self.least) / self.delay_s, brain)
        wanted = core if self.target == "core" else hypoperfused
        logits = torch.cat([torch.zeros_like(wanted), wanted], dim=1)
        if self.return_aux:
            return ThresholdOutput(logits, torch.sigmoid(core), torch.sigmoid(hypoperfused))
        return logits

    def _log_odds(self, ratio: Tensor, brain: Tensor) -> Tensor:
        return torch.where(brain > 0.5, self.steepness * torch.log(ratio), torch.full_like(ratio, self.outside))

    def extra_repr(self) -> str:
        """Return the cuts."""
        return f"target={self.target}, core_rcbf={self.core_rcbf:g}, delay_s={self.delay_s:g}"
