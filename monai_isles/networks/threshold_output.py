"""What the threshold rule says of a volume; annotations stay types here, since TorchScript reads them."""

from typing import NamedTuple

from torch import Tensor


class ThresholdOutput(NamedTuple):
    """Both rules of the clinic, whichever of them is the target.

    Shapes: logits ``(N, 2, *space)`` of the target; ``core`` and ``hypoperfused`` ``(N, 1, *space)``, scores in 0..1.
    """

    logits: Tensor
    core: Tensor
    hypoperfused: Tensor
