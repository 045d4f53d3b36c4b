"""The asymmetric residual encoder-decoder of Clerigues 2019 (2D) and 2020 (3D), and two of them in cascade."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import Down, NetworkOfParts, ResidualBlock, conv3, up


class AsymmetricResUNet(nn.Module):
    """Encoder of two-convolution and decoder of one-convolution residual blocks, joined by sums.

    The deepest three levels carry channel dropout while training and, at their block entries, the sites of
    prediction dropout (``monai_isles.inference.windows.prediction_dropout`` switches them on).

    Shapes: ``(N, in_channels, *spatial)`` in, logits ``(N, out_channels, *spatial)`` out; every spatial size
    divisible by ``2 ** (levels - 1)``.
    Args:
        spatial_dims: 2 for CT perfusion, 3 for MRI.
        base_channels: channels of the first level; doubled at each further level.
        norm_momentum: share of each batch in the running statistics that prediction uses. The released code's 0.01
            lags a hundred steps behind weights that Adadelta moves fast.
    Raises: ``E-NET-01`` for impossible sizes, ``E-NET-02`` for an input that cannot be halved.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 2: 592 610 parameters with 2 dimensions,
    10 channels, base 8, 5 levels; Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521): 7 037 122 with 3 dimensions,
    8 channels, base 32, 4 levels.

    >>> network = AsymmetricResUNet(spatial_dims=2, in_channels=10, base_channels=4, levels=3)
    >>> network(torch.zeros(1, 10, 32, 32)).shape
    torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 10,
        out_channels: int = 2,
        base_channels: int = 8,
        levels: int = 5,
        dropout: float = 0.2,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3) or levels < 2 or min(in_channels, out_channels, base_channels) < 1:
            result = f"{spatial_dims}D, {levels} levels, channels {in_channels}, {out_channels}, {base_channels}"
            raise refused("E-NET-01", where="AsymmetricResUNet", found=result)
        widths = [base_channels * 2**level for level in range(levels)]
        noisy = [level >= levels - 3 for level in range(levels)]
        self.divisor = 2 ** (levels - 1)
        self.fixed_levels = noisy.index(True)
        self.first = conv3(spatial_dims, in_channels, base_channels)
        self.encoder = nn.ModuleList(
            ResidualBlock(
                spatial_dims, width, convolutions=2, prediction_dropout=loud, dropout=dropout if loud else 0.0
            )
            for width, loud in zip(widths, noisy, strict=True)
        )
        self.down = nn.ModuleList(Down(spatial_dims, width) for width in widths[:-1])
        self.up = nn.ModuleList(up(spatial_dims, width) for width in widths[-2::-1])
        self.decoder = nn.ModuleList(
            ResidualBlock(spatial_dims, width, convolutions=1, prediction_dropout=loud)
            for width, loud in zip(widths[-2::-1], noisy[-2::-1], strict=True)
        )
        self.last = conv3(spatial_dims, base_channels, out_channels)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = norm_momentum
        if spatial_dims == 2:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.fixed_part(x)
        return self.noisy_part(x, skips)

    def fixed_part(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run the levels above the first site of prediction dropout; their result does not depend on the dropout."""
        if not torch.jit.is_scripting():
            self._check_size(x)
        x = self.first(x)
        skips: list[Tensor] = []
        for level, (block, down) in enumerate(zip(self.encoder, self.down)):  # noqa: B905 (TorchScript)
            if level < self.fixed_levels:
                x = block(x)
                skips.append(x)
                x = down(x)
        return x, skips

    def noisy_part(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Run the rest of the encoder and the decoder on the result of ``fixed_part``."""
        kept = list(skips)
        for level, (block, down) in enumerate(zip(self.encoder, self.down)):  # noqa: B905 (TorchScript)
            if level >= self.fixed_levels:
                x = block(x)
                kept.append(x)
                x = down(x)
        x = self.encoder[-1](x)  # the deepest level has no step down
        for grow, block in zip(self.up, self.decoder):  # noqa: B905 (TorchScript)
            x = block(grow(x) + kept.pop())
        return self.last(x)

    def _check_size(self, x: Tensor) -> None:
        for size in x.shape[2:]:
            if size % self.divisor != 0:
                result = f"a spatial size of {size}, not a multiple of {self.divisor}"
                raise refused("E-NET-02", where="AsymmetricResUNet", found=result, divisor=self.divisor)


class Cascade(NetworkOfParts):
    """Run two networks in cascade: the second sees the images and the lesion probability of the first.

    While only the first one learns (``train_only("first")``), its logits are the output, so that loss, validation and
    early stop judge that network; otherwise the second network's logits are.

    Shapes: as ``AsymmetricResUNet``.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.1, "two networks in cascade configuration";
    the input of the second network is our reading.

    >>> Cascade(2, 5, base_channels=2)(torch.zeros(1, 5, 48, 48)).shape
    torch.Size([1, 2, 48, 48])
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 5, **settings: Any) -> None:
        super().__init__()
        self.first = AsymmetricResUNet(spatial_dims, in_channels, **settings)
        self.second = AsymmetricResUNet(spatial_dims, in_channels + 1, **settings)
        self.divisor = self.first.divisor

    def forward(self, x: Tensor) -> Tensor:
        result = self.first(x)
        if not torch.jit.is_scripting():
            if "second" in self.frozen:
                return result
        return self.second(torch.cat([x, result.softmax(1)[:, 1:2]], dim=1))
