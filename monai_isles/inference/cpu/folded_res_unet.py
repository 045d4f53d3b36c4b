"""The asymmetric residual network as it predicts: the same numbers, less work."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_isles.networks.asymmetric_res_unet import AsymmetricResUNet
from monai_isles.networks.folded_blocks import FoldedDown, FoldedResidualBlock
from monai_isles.inference.cpu.simd_conv import LaneConv

_THIN = 32


class FoldedResUNet(nn.Module):
    """A trained ``AsymmetricResUNet`` for prediction on a processor: equal to it by float rounding.

    Batch norms are folded into the convolutions before them where nothing else reads what lies between, the others are
    one multiplication and shift; thin convolutions fill the processor's lanes (``LaneConv``); all memory is
    channels-last. Nothing can be trained, nothing goes back: the original stays as it is.

    Shapes: as ``AsymmetricResUNet``.
    Args:
        network: in evaluation.
        products: of the convolutions, in 32 bits or 16 (``torch.bfloat16``). All else stays in 32: norms, slopes and
            sums in 16 bits are no faster. So do convolutions of fewer than 32 channels in ``fixed_part``: they run
            once a window, and make four fifths of the difference.
    Source: ours; ``tests/inference/cpu/test_folded_res_unet.py``.
    """

    def __init__(self, network: AsymmetricResUNet, products: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.products, self.divisor, self.fixed_levels = products, network.divisor, network.fixed_levels
        flat = isinstance(network.first, nn.Conv2d)
        self.memory_format = torch.channels_last if flat else torch.channels_last_3d
        self.check_size = network._check_size
        self.first = LaneConv(network.first)
        self.encoder = nn.ModuleList(FoldedResidualBlock(block) for block in network.encoder)
        self.down = nn.ModuleList(FoldedDown(down) for down in network.down)
        self.up = nn.ModuleList(copy.deepcopy(up) for up in network.up)
        self.decoder = nn.ModuleList(FoldedResidualBlock(block) for block in network.decoder)
        self.last = LaneConv(network.last)
        for module in self._products_of(network.fixed_levels):
            module.to(products)
        self.up.to(memory_format=self.memory_format)
        self.requires_grad_(False).eval()

    def _products_of(self, fixed_levels: int) -> list[nn.Module]:
        """Return the convolutions that multiply in ``products``."""
        once = [self.first, *self.encoder[:fixed_levels], *self.down[:fixed_levels]]
        lanes = [[m for m in part.modules() if isinstance(m, LaneConv)] for part in (self, nn.ModuleList(once))]
        thin = [m for m in lanes[1] if m.weight.shape[0] < _THIN]
        return [*self.up, *(m for m in lanes[0] if not any(m is one for one in thin))]

    def forward(self, x: Tensor) -> Tensor:
        return self.noisy_part(*self.fixed_part(x))

    def fixed_part(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run the levels above the first site of prediction dropout."""
        self.check_size(x)
        x = self.first(x.float().contiguous(memory_format=self.memory_format))
        skips: list[Tensor] = []
        for block, down in zip(self.encoder[: self.fixed_levels], self.down[: self.fixed_levels], strict=True):
            skips.append(block(x))
            x = down(skips[-1])
        return x, skips

    def noisy_part(self, x: Tensor, skips: list[Tensor], masks: Sequence[Tensor] = ()) -> Tensor:
        """Run the rest on the result of ``fixed_part``; ``masks`` are those of the sites, in their order."""
        skips, left = list(skips), list(masks)
        for level, block in enumerate(self.encoder[self.fixed_levels :], self.fixed_levels):
            skips.append(block(x, left.pop(0) if left else None))
            x = self.down[level](skips[-1]) if level < len(self.down) else skips.pop()
        for grow, block in zip(self.up, self.decoder, strict=True):
            grown = grow(x.to(self.products)).to(x.dtype)
            x = block(grown.add_(skips.pop()), left.pop(0) if left else None)
        return self.last(x)
