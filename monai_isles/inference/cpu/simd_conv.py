"""A convolution of few output channels that fills the processor's lanes with neighbouring pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LANES = 16
_MOST = {4: 4, 5: 2}  # wider kernels lose more than the lanes gain, as measured
_CONV: dict[int, Callable[..., Tensor]] = {4: F.conv2d, 5: F.conv3d}


class LaneConv(nn.Module):
    """Compute a convolution with kernel 3 and padding 1 for several neighbouring pixels at once.

    A vector of the processor holds 16 numbers; a convolution to 8 channels fills half of it, one to 2 an eighth. Here
    ``n`` neighbours along the last axis become ``n`` times the channels: the kernel is ``n`` shifted copies side by
    side, and moves by ``n`` pixels. In a channels-last tensor those channels lie where the pixels belong, so the
    result is the plain convolution's, product for product, without a copy. With weights in 16 bits (``.to``) only the
    products are: input and output stay as they are.

    Shapes: ``(N, I, *spatial)`` channels-last in, ``(N, O, *spatial / stride)`` channels-last out.
    Args:
        conv: the convolution to stand in for, of two or three dimensions, the stride the same on every axis.
        weight, bias: in place of the convolution's own.
    Source: ours; ``tests/inference/cpu/test_simd_conv.py``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        super().__init__()
        self.stride = int(conv.stride[0])
        weight = conv.weight if weight is None else weight
        bias = conv.bias if bias is None else bias
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())
        self._side_by_side: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        n = self.neighbours(x.shape[-1])
        weight, bias = self._weights(n)
        flat = x.dim() == 4
        stride = (self.stride, self.stride * n) if flat else (self.stride, self.stride, self.stride * n)
        y = _CONV[x.dim()](x.to(weight.dtype), weight, bias, stride, 1).to(x.dtype)
        if n == 1:
            return y.contiguous(memory_format=torch.channels_last if flat else torch.channels_last_3d)
        last = y.movedim(1, -1)
        return last.reshape(*last.shape[:-2], last.shape[-2] * n, -1).movedim(-1, 1)

    def neighbours(self, pixels: int) -> int:
        """Return how many pixels of a row of ``pixels`` go together.

        One channel in, or one pixel out, would leave the order of the memory open: torch then reads beyond it.
        """
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
    """Return the kernel for ``n`` neighbours: ``(O, I, *k)`` to ``(n O, I, *k[:-1], k[-1] + (n - 1) stride)``.

    The memory is channels-last.
    """
    *front, width = weight.shape
    wide = weight.new_zeros(n, *front, width + (n - 1) * stride)
    for k in range(n):
        wide[k, ..., k * stride : k * stride + width] = weight
    packed = torch.channels_last if weight.dim() == 4 else torch.channels_last_3d
    return wide.flatten(0, 1).contiguous(memory_format=packed)
