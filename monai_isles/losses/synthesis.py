"""Losses between a synthesised DWI and the true one, and the loss of the whole pseudo-DWI pipeline."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from monai.losses import PatchAdversarialLoss
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from monai_isles.errors import refused
from monai_isles.losses.stroke_segmentation import StrokeSegmentationLoss

_LEAST_SQUARES = PatchAdversarialLoss(no_activation_leastsq=True)


def discriminator_ls_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Return half the sum of ``(D(real) - 1)^2`` and ``D(fake)^2``, each a mean over every scale's map, scales equal.

    Source: Mao 2017 (arXiv:1611.04076), equation (9) with a = 0, b = c = 1, by ``monai.losses.PatchAdversarialLoss``.
    """
    return 0.5 * (_LEAST_SQUARES(real, True, True) + _LEAST_SQUARES(fake, False, True))


ENCODER_TRAININGS = ("joint", "fixed", "true_dwi", "segmentation")
KINDS = ("l1", "l2", "w-l2", "w-l2+h1", "w-l2+h2", "gan", "l2+gan")
READINGS = ("mean", "norm")


class SynthesisLoss(nn.Module):
    """Compare images by a pixel term, a contextual term (``h``) and an adversarial term (``gan``), chosen by ``kind``.

    ``reading="mean"`` takes the pixel term as the mean of ``(A d)^2`` (``|d|`` for ``l1``) and the contextual one as
    the mean over the encoder's vector: the paper ties its L2 term to the mean square error, "by squaring", and to PSNR,
    and this keeps every image size on one scale. ``reading="norm"`` takes the bars of equations (7) and (8) to the
    letter, a root of a sum over the image, then the mean over images; its size grows with the image and dwarfs the
    segmentation loss.

    Shapes: images and weight ``(N, 1, H, W)``; the encoder ``(N, 1, H, W) -> (N, L)``; a scalar out.
    Args:
        kind: row of Table 1; the paper's own is ``w-l2+h1``.
        gamma: weight of the contextual term.
        encoder: for the ``h`` kinds.
        encoder_training: how the encoder learns. ``"joint"``: by the contextual term itself, through both images, as in
            the paper's end-to-end training; a constant code minimises it. ``"fixed"``: not at all, it keeps its
            initial weights. ``"true_dwi"`` and ``"segmentation"``: by regressing the means of the true DWI, or of the
            lesion, on a coarse grid of as many fields as the code has numbers. With the last three the contextual
            term does not change the encoder, and the encoder's own loss does not change the value of the loss.
        discriminator: for the ``gan`` kinds; trained elsewhere (``monai_isles.training.DiscriminatorStep``). One of
            more channels than the image sees ``condition`` before it.
        gan_weight: weight of the adversarial term beside the pixel term.
    Raises: ``E-LOSS-32`` unknown kind or reading, ``E-LOSS-33`` no network, ``E-LOSS-34`` no weights, and others.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equations (6) to (8), gamma 1.2; the trainings of the encoder
        but ``"joint"`` are ours; ``tests/losses/test_synthesis.py``.

    >>> dwi, weight = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    >>> float(SynthesisLoss("l2")(dwi + 2, dwi, weight))
    4.0
    """

    def __init__(
        self,
        kind: str = "w-l2+h1",
        *,
        gamma: float = 1.2,
        encoder: nn.Module | None = None,
        encoder_training: str = "joint",
        discriminator: nn.Module | None = None,
        gan_weight: float = 1.0,
        reading: str = "mean",
    ) -> None:
        super().__init__()
        if kind not in KINDS or reading not in READINGS:
            known = {"kinds": ", ".join(KINDS), "readings": ", ".join(READINGS)}
            raise refused("E-LOSS-32", where="SynthesisLoss", found=f"kind {kind!r}, reading {reading!r}", **known)
        if encoder_training not in ENCODER_TRAININGS:
            listed = ", ".join(ENCODER_TRAININGS)
            raise refused("E-LOSS-37", where="SynthesisLoss", found=repr(encoder_training), known=listed)
        self.kind, self.gamma, self.reading = kind, gamma, reading
        self.encoder_training, self.gan_weight = encoder_training, gan_weight
        self.encoder = _require_network(encoder, kind, "h1" in kind or "h2" in kind, "encoder")
        self.discriminator = _require_network(discriminator, kind, "gan" in kind, "discriminator")

    def extra_repr(self) -> str:
        text = f"kind={self.kind!r}, gamma={self.gamma}, reading={self.reading!r}"
        text += f", encoder_training={self.encoder_training!r}" if self.encoder is not None else ""
        return text + (f", gan_weight={self.gan_weight}" if self.discriminator is not None else "")

    def forward(
        self,
        image: Tensor,
        truth: Tensor,
        weight: Tensor | None = None,
        *,
        condition: Tensor | None = None,
        lesion: Tensor | None = None,
    ) -> Tensor:
        """Return the loss; ``condition`` (N, C, H, W) is for the discriminator, ``lesion`` for the encoder."""
        parts: list[Tensor] = []
        if self.kind != "gan":
            parts.append(self._pixels(image.float(), truth.float(), weight))
        if self.encoder is not None:
            parts.append(self.gamma * self._context(image, truth.to(image.dtype)))
            if torch.is_grad_enabled():
                parts += self._encoder_lesson(truth, lesion)
        if self.discriminator is not None:
            judged = verdicts(self.discriminator, image, condition)
            parts.append(self.gan_weight * _LEAST_SQUARES(judged, target_is_real=True, for_discriminator=False))
        return sum(parts[1:], start=parts[0])

    def _pixels(self, image: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
        difference = image - truth
        if self.kind.startswith("w-"):
            if weight is None:
                raise refused("E-LOSS-34", where=f"SynthesisLoss, kind {self.kind!r}", found="no weight map")
            difference = difference * weight
        return self._size(difference, power=1 if self.kind == "l1" else 2)

    def _context(self, image: Tensor, truth: Tensor) -> Tensor:
        encoder = cast(nn.Module, self.encoder)
        if self.encoder_training == "joint":
            difference = encoder(image) - encoder(truth)
        else:
            held = {name: value.detach() for name, value in encoder.named_parameters()}
            difference = functional_call(encoder, held, image) - functional_call(encoder, held, truth)
        return self._size(difference.float(), power=2 if self.kind.endswith("h2") else 1)

    def _encoder_lesson(self, truth: Tensor, lesion: Tensor | None) -> list[Tensor]:
        """Return the encoder's own loss with its gradient but value 0; an empty list if it has none."""
        wanted = {"true_dwi": truth, "segmentation": lesion}.get(self.encoder_training)
        if wanted is None:
            return []
        code = cast(nn.Module, self.encoder)(truth).float()
        side = math.isqrt(code.shape[1])
        grid = (side, side) if side * side == code.shape[1] else (code.shape[1], 1)
        cost = ((code - F.adaptive_avg_pool2d(wanted.float(), grid).flatten(1)) ** 2).mean()
        return [cost - cost.detach()]

    def _size(self, difference: Tensor, *, power: int) -> Tensor:
        if self.reading == "mean":
            return (difference.abs() if power == 1 else difference**2).mean()
        return difference.flatten(1).norm(p=power, dim=1).mean()


def _require_network(network: nn.Module | None, kind: str, needed: bool, name: str) -> nn.Module | None:
    if needed and network is None:
        raise refused("E-LOSS-33", where=f"SynthesisLoss, kind {kind!r}", found=f"no {name}", name=name)
    return network if needed else None


def verdicts(discriminator: nn.Module, image: Tensor, condition: Tensor | None) -> list[Tensor]:
    """Return the verdict map of each scale, after ``condition`` if the discriminator has channels for it."""
    channels = getattr(getattr(discriminator, "module", discriminator), "in_channels", image.shape[1])
    if condition is not None and channels > image.shape[1]:
        image = torch.cat([condition.to(image.dtype), image], dim=1)
    result = discriminator(image)
    result = result[0] if isinstance(result, tuple) else result  # MONAI's returns features beside the maps
    return [scores.float() for scores in ([result] if isinstance(result, Tensor) else result)]


PARTS = ("segmenter", "generator", "extractor")


class PseudoDWILoss(nn.Module):
    """Sum segmentation loss, ``alpha`` times synthesis loss and ``beta`` times the extractor's loss, ``L`` of (15).

    The output's fields ``logits``, ``pseudo_dwi`` and ``extracted`` are read. For plain logits, of a network without
    synthesis, only the segmentation loss counts.

    Shapes: output fields ``(N, 2, H, W)``, ``(N, 1, H, W)``, ``(N, 1, H, W)`` or None; target ``(N, 3, H, W)``: lesion,
    DWI scaled to 0..1, weight map A. For plain logits the DWI may be left out. A scalar out.
    Args:
        segmentation: ``StrokeSegmentationLoss()`` when None.
        synthesis: for both ``L_g`` and ``L_e``; ``SynthesisLoss("w-l2")`` when None.
        explicit: False leaves ``L_e`` out (row ``F_h*`` of Table 2).
    Raises: ``E-LOSS-35`` when a DWI was synthesised and the target holds none, ``E-LOSS-36`` an unknown part.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (15), alpha = beta = 1.

    >>> from monai_isles.networks.blocks import PseudoDWIOutput
    >>> logits, dwi, target = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8), torch.ones(1, 3, 8, 8)
    >>> terms = PseudoDWILoss().terms(PseudoDWIOutput(logits, dwi, None), target)
    >>> sorted(terms), float(terms["generator"])  # the synthesised DWI is 1 below the true one everywhere
    (['generator', 'segmenter'], 1.0)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        *,
        segmentation: nn.Module | None = None,
        synthesis: SynthesisLoss | None = None,
        explicit: bool = True,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.explicit = alpha, beta, explicit
        self.segmentation = segmentation or StrokeSegmentationLoss()
        self.synthesis = synthesis or SynthesisLoss("w-l2")
        self.only(*PARTS)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, explicit={self.explicit}"

    def only(self, *parts: str) -> None:
        """Count only these terms from now on, as ``SequentialStages`` does. Raises: ``E-LOSS-36``."""
        if not parts or not set(parts) <= set(PARTS):
            raise refused("E-LOSS-36", where="PseudoDWILoss", found=f"parts {parts}", parts=", ".join(PARTS))
        self.parts = tuple(parts)

    def forward(self, output: Any, target: Tensor) -> Tensor:
        terms = self.terms(output, target)
        weight = {"segmenter": 1.0, "generator": self.alpha, "extractor": self.beta}
        counted = [weight[name] * term for name, term in terms.items() if name in self.parts]
        return sum(counted[1:], start=counted[0]) if counted else 0.0 * terms["segmenter"]

    def terms(self, output: Any, target: Tensor) -> dict[str, Tensor]:
        """Return those of ``L_s``, ``L_g`` and ``L_e`` that apply, not weighted."""
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
