"""What the pseudo-DWI network says of a slice; annotations stay types here, since TorchScript reads them."""

from typing import NamedTuple

from torch import Tensor


class PseudoDWIOutput(NamedTuple):
    """Segmentation and synthetic images of a slice.

    Shapes: logits ``(N, K, H, W)``; ``pseudo_dwi`` (I_g) and, with an extractor, ``extracted`` (F_h) ``(N, 1, H, W)``.
    Units: both images on the scale of a DWI whose minimum is 0 and whose 99th percentile is 1.
    """

    logits: Tensor
    pseudo_dwi: Tensor
    extracted: Tensor | None
