"""The outputs of networks that return more than logits."""

# TorchScript reads these annotations as types: no `from __future__ import annotations` here.
from typing import NamedTuple

from torch import Tensor


class PseudoDWIOutput(NamedTuple):
    """Segmentation and synthetic images of a slice.

    Shapes: logits ``(N, K, H, W)``; ``pseudo_dwi`` (I_g) and, with an extractor, ``extracted`` (F_h) ``(N, 1, H, W)``;
    ``maps``, the perfusion maps that the image was made of, ``(N, C, H, W)``: a discriminator may ask for them.
    Units: both images on the scale of a DWI whose minimum is 0 and whose 99th percentile is 1.
    """

    logits: Tensor
    pseudo_dwi: Tensor
    extracted: Tensor | None
    maps: Tensor | None = None


class ThresholdOutput(NamedTuple):
    """Both rules of the clinic, whichever of them is the target.

    Shapes: logits ``(N, 2, *space)`` of the target; ``core`` and ``hypoperfused`` ``(N, 1, *space)``, scores in 0..1.
    """

    logits: Tensor
    core: Tensor
    hypoperfused: Tensor
