"""The asymmetric residual network in a form for prediction: equal results with less work."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.asymmetric_res_unet import AsymmetricResUNet
from monai_isles.networks.blocks import Down, PredictionDropout, ResidualBlock

LANES = 16
_MOST = {4: 4, 5: 2}  # wider kernels lose more than the lanes gain, as measured


class LaneConv(nn.Module):
    """Compute a convolution with kernel 3 and padding 1 for several neighbouring pixels at once.

    A SIMD register holds 16 numbers; a convolution to 8 channels fills half of it, one to 2 channels an eighth. Here
    ``n`` neighbours along the last axis become ``n`` times the channels: the kernel is ``n`` shifted copies side by
    side, and its stride is ``n`` pixels. In a channels-last tensor these channels lie where the pixels belong, so the
    result equals the plain convolution without a copy. With weights in 16 bits (``.to``) only the products are in
    16 bits; input and output keep their type.

    Shapes: ``(N, I, *spatial)`` channels-last in, ``(N, O, *spatial / stride)`` channels-last out.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.stride = int(conv.stride[0])
        bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
        self.register_buffer("weight", conv.weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())
        self._side_by_side: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        n = self.neighbours(x.shape[-1])
        weight, bias = self._weights(n)
        flat = x.dim() == 4
        stride = (self.stride, self.stride * n) if flat else (self.stride, self.stride, self.stride * n)
        y = (F.conv2d if flat else F.conv3d)(x.to(weight.dtype), weight, bias, stride, 1).to(x.dtype)
        if n == 1:
            return y.contiguous(memory_format=torch.channels_last if flat else torch.channels_last_3d)
        last = y.movedim(1, -1)  # channels of n neighbours become n pixels again; a view
        return last.reshape(*last.shape[:-2], last.shape[-2] * n, -1).movedim(-1, 1)

    def neighbours(self, pixels: int) -> int:
        """Return how many pixels of a row are computed together, one where the memory order would be ambiguous."""
        # Outputs times neighbours fill the SIMD lanes.
        most = min(LANES // self.weight.shape[0], _MOST[self.weight.dim()])
        n = max(1, most) if self.weight.shape[1] > 1 else 1
        while n > 1 and (pixels % (n * self.stride) or pixels == n * self.stride):
            n //= 2
        return n

    def _weights(self, n: int) -> tuple[Tensor, Tensor]:
        if n not in self._side_by_side:
            self._side_by_side[n] = side_by_side(self.weight, n, self.stride), self.bias.repeat(n)
        return self._side_by_side[n]


def side_by_side(weight: Tensor, n: int, stride: int) -> Tensor:
    """Return the channels-last kernel (O, I, *k) for ``n`` neighbours: (n O, I, *k[:-1], k[-1] + (n - 1) stride)."""
    *front, width = weight.shape
    wide = weight.new_zeros(n, *front, width + (n - 1) * stride)
    for k in range(n):
        # The kernel of neighbour k is shifted by k strides, zeros around it.
        wide[k, ..., k * stride : k * stride + width] = weight
    packed = torch.channels_last if weight.dim() == 4 else torch.channels_last_3d
    return wide.flatten(0, 1).contiguous(memory_format=packed)


class ChannelRows(nn.Module):
    """Repeat one value per channel along a row of pixels.

    A channels-last tensor is a matrix with one row of pixels per line. With eight values torch runs a loop of eight for
    every pixel; repeated to the row's length they give one long loop (2.5 times faster in 32 bits, 30 times in 16).

    Shapes: ``values`` (C,).
    """

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values.detach().clone())
        self._repeated: dict[int, Tensor] = {}

    def along(self, pixels: int) -> Tensor:
        """Return the values for a row of ``pixels``: ``(pixels * C,)``."""
        if pixels not in self._repeated:
            self._repeated[pixels] = self.values.repeat(pixels)
        return self._repeated[pixels]


class RowAffine(nn.Module):
    """Multiply and shift every channel, channels-last: batch normalisation with fixed statistics."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale, self.shift = ChannelRows(scale), ChannelRows(shift)

    def forward(self, x: Tensor) -> Tensor:
        rows, pixels = as_rows(x), x.shape[-1]
        return from_rows(torch.addcmul(self.shift.along(pixels), rows, self.scale.along(pixels)), x)


class RowPReLU(nn.Module):
    """Apply PReLU with one slope per channel, ``(N, C, *spatial)`` channels-last."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = ChannelRows(slope)

    def forward(self, x: Tensor) -> Tensor:
        return from_rows(torch.prelu(as_rows(x), self.slope.along(x.shape[-1])), x)


def as_rows(x: Tensor) -> Tensor:
    """Return ``(N, C, *spatial)`` as ``(rows, pixels * C)``; a view where ``x`` is channels-last."""
    last = x.movedim(1, -1)
    return last.reshape(-1, last.shape[-2] * last.shape[-1])


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows in the shape of ``like``, channels-last."""
    shape = like.movedim(1, -1).shape
    return rows.view(shape).movedim(-1, 1)


def affine_of(norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Return scale and shift per channel of a batch norm in evaluation mode."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def fold_preactivated(layers: Iterable[Any]) -> nn.Sequential:
    """Return batch norm, PReLU, convolution of ``blocks.preactivated_conv`` with fixed statistics."""
    norm, prelu, conv = layers
    return nn.Sequential(RowAffine(*affine_of(norm)), RowPReLU(prelu.weight), LaneConv(conv))


class FoldedResidualBlock(nn.Module):
    """Run a ``ResidualBlock`` in evaluation mode, channels-last, its second batch norm folded.

    The first one cannot be folded: its input is also the sum's other term.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        layers: list[Any] = [part for part in block.path if isinstance(part, nn.Sequential)]
        head = fold_preactivated(layers[0])
        for norm, prelu, conv in layers[1:]:
            scale, shift = affine_of(norm)
            before = cast(LaneConv, head[-1])
            spread = scale.view(-1, *[1] * (before.weight.dim() - 1))
            # scale (W x + b) + shift = (scale W) x + (scale b + shift).
            before.weight.copy_((before.weight * spread).detach())
            before.bias.copy_((before.bias * scale + shift).detach())
            head.extend([RowPReLU(prelu.weight), LaneConv(conv)])
        sites = [PredictionDropout() for part in block.path if isinstance(part, PredictionDropout)]
        self.path = nn.Sequential(*sites, *head)

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x).add_(x)


class GrowIn(nn.Module):
    """Run a transposed convolution in the type of its weights; input and output keep theirs."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = copy.deepcopy(conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.to(cast(Tensor, self.conv.weight).dtype)).to(x.dtype)


def fold_down(down: Down) -> Down:
    """Return a copy of ``Down`` that runs in evaluation mode, channels-last."""
    folded = copy.deepcopy(down)
    folded.conv = fold_preactivated(down.conv)
    return folded


class FoldedResUNet(AsymmetricResUNet):
    """Run a trained ``AsymmetricResUNet`` fast on a CPU; results are equal up to float rounding.

    Batch norms are folded into the convolutions before them if no other layer reads the value between; the others are
    one multiplication and shift. Convolutions of few channels fill the SIMD width (``LaneConv``). All memory is
    channels-last. This form cannot be trained; the original network is not changed.

    Shapes: as ``AsymmetricResUNet``.
    Args:
        products: type of the convolutions' products, 32 bits or 16 (``torch.bfloat16``). Norms, slopes and sums stay
            in 32 bits, since 16 bits are no faster there. Convolutions of fewer than 32 channels in ``fixed_part``
            stay in 32 bits too: they run once per window and cause four fifths of the difference.
    """

    def __init__(self, network: AsymmetricResUNet, products: torch.dtype = torch.float32) -> None:
        nn.Module.__init__(self)  # the layers are those of ``network``, folded
        self.products, self.divisor, self.fixed_levels = products, network.divisor, network.fixed_levels
        flat = isinstance(network.first, nn.Conv2d)
        self.memory_format = torch.channels_last if flat else torch.channels_last_3d
        self.first = LaneConv(cast(nn.Conv2d, network.first))
        blocks = cast(Iterable[ResidualBlock], network.encoder)
        self.encoder = nn.ModuleList(FoldedResidualBlock(block) for block in blocks)
        self.down = nn.ModuleList(fold_down(down) for down in cast(Iterable[Down], network.down))
        self.up = nn.ModuleList(GrowIn(up) for up in network.up)
        blocks = cast(Iterable[ResidualBlock], network.decoder)
        self.decoder = nn.ModuleList(FoldedResidualBlock(block) for block in blocks)
        self.last = LaneConv(cast(nn.Conv2d, network.last))
        for module in self._products_of(network.fixed_levels):
            module.to(products)
        self.up.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.sites: list[Any] = [module for module in self.modules() if isinstance(module, PredictionDropout)]
        self.requires_grad_(False).eval()

    def _products_of(self, fixed_levels: int) -> list[nn.Module]:
        """Return the convolutions with products of that type."""
        once = [self.first, *self.encoder[:fixed_levels], *self.down[:fixed_levels]]
        lanes = [[m for m in part.modules() if isinstance(m, LaneConv)] for part in (self, nn.ModuleList(once))]
        # Few channels: little time, most of the rounding error.
        thin = [m for m in lanes[1] if m.weight.shape[0] < 32]
        return [*self.up, *(m for m in lanes[0] if not any(m is item for item in thin))]

    def fixed_part(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return super().fixed_part(x.float().contiguous(memory_format=self.memory_format))

    def noisy_part(self, x: Tensor, skips: list[Tensor], masks: Sequence[Tensor] = ()) -> Tensor:
        """Run the rest on the result of ``fixed_part``; ``masks`` replace those of the sites, in their order."""
        for site, mask in zip(self.sites, masks, strict=False):
            site.mask = mask
        return super().noisy_part(x, skips)
