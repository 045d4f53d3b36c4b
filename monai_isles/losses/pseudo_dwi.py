"""The loss of the whole pseudo-DWI pipeline."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.losses.stroke_segmentation import StrokeSegmentationLoss
from monai_isles.losses.synthesis import SynthesisLoss

PARTS = ("segmenter", "generator", "extractor")


class PseudoDWILoss(nn.Module):
    """Sum segmentation loss, ``alpha`` times synthesis loss and ``beta`` times the extractor's loss, ``L`` of (15).

    The network's output is read by its fields ``logits``, ``pseudo_dwi`` and ``extracted``; plain logits, of a network
    that synthesises nothing, are judged by the segmentation loss alone.

    Shapes: output fields ``(N, 2, H, W)``, ``(N, 1, H, W)``, ``(N, 1, H, W)`` or None; target ``(N, 3, H, W)``: lesion,
    DWI scaled to 0..1, weight map A. For plain logits the DWI may be left out. A scalar out.
    Args:
        alpha, beta: weights of the two synthesis terms.
        segmentation: ``StrokeSegmentationLoss()`` when None.
        synthesis: ``SynthesisLoss`` for both ``L_g`` and ``L_e``; made from gamma and encoder when None.
        gamma, encoder: for that; without an encoder the contextual term is left out.
        explicit: False leaves ``L_e`` out (row ``F_h*`` of Table 2).
        parts: terms that count, of ``segmenter``, ``generator``, ``extractor``; ``SequentialStages`` sets it.
    Raises:
        IslesError: ``E-LOSS-35`` when a DWI was synthesised and the target holds none, ``E-LOSS-36`` an unknown part.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (15), alpha = beta = 1;
        ``tests/losses/test_pseudo_dwi.py``.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.2,
        *,
        segmentation: nn.Module | None = None,
        synthesis: SynthesisLoss | None = None,
        encoder: nn.Module | None = None,
        explicit: bool = True,
        parts: tuple[str, ...] = PARTS,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.explicit = alpha, beta, explicit
        self.segmentation = segmentation or StrokeSegmentationLoss()
        self.synthesis = synthesis or SynthesisLoss("w-l2+h1" if encoder else "w-l2", gamma=gamma, encoder=encoder)
        self.only(*parts)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, explicit={self.explicit}"

    def only(self, *parts: str) -> None:
        """Let these terms count from now on. Raises: ``E-LOSS-36``."""
        if not parts or not set(parts) <= set(PARTS):
            raise refused("E-LOSS-36", where="PseudoDWILoss", found=f"parts {parts}", parts=", ".join(PARTS))
        self.parts = tuple(parts)

    def forward(self, output: Any, target: Tensor) -> Tensor:
        terms = self.terms(output, target)
        weight = {"segmenter": 1.0, "generator": self.alpha, "extractor": self.beta}
        counted = [weight[name] * term for name, term in terms.items() if name in self.parts]
        return sum(counted[1:], start=counted[0]) if counted else 0.0 * terms["segmenter"]

    def terms(self, output: Any, target: Tensor) -> dict[str, Tensor]:
        """Return ``L_s``, ``L_g`` and ``L_e`` as far as there are any, not weighted."""
        pseudo = getattr(output, "pseudo_dwi", None)
        if pseudo is None:
            logits = output if isinstance(output, Tensor) else output.logits
            return {"segmenter": self.segmentation(logits, target)}
        if target.shape[1] != 3:
            raise refused("E-LOSS-35", where="PseudoDWILoss", found=f"target of {target.shape[1]} channels")
        truth, weight = target[:, 1:2], target[:, 2:3]
        more = {"condition": getattr(output, "maps", None), "lesion": target[:, :1]}
        terms = {"segmenter": self.segmentation(output.logits, target)}
        terms["generator"] = self.synthesis(pseudo, truth, weight, **more)
        extracted = getattr(output, "extracted", None)
        if extracted is not None and self.explicit:
            terms["extractor"] = self.synthesis(extracted, truth, weight, **more)
        return terms
