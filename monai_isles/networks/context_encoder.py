"""The encoder whose short vector says what an image shows as a whole."""

from __future__ import annotations

from torch import Tensor, nn

from monai_isles.errors import IslesError


class ContextEncoder(nn.Module):
    """Describe an image of any size by a vector: the network Phi_c of equation 8.

    Three 3x3 convolutions of stride 2, an adaptive average pooling to a fixed grid, two more such convolutions, and an
    adaptive average pooling to one value a channel. ReLU follows all convolutions but the last.

    Shapes: ``(N, in_channels, H, W)`` in, ``(N, length)`` out.
    Args:
        length: of the vector; the last convolution has as many channels.
        base_channels: of the first convolution; the next have 2, 4 and 2 times as many.
        grid: side of the fixed grid; 16 halves to 4.
    Raises:
        IslesError: ``E-NET-44`` for impossible sizes.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 3.2: five convolutions, two adaptive average poolings,
    16 numbers. Figure 4 draws the widths and the order, which the text does not give: both are our reading.
    """

    def __init__(self, in_channels: int = 1, length: int = 16, base_channels: int = 16, grid: int = 16) -> None:
        super().__init__()
        if min(in_channels, length, base_channels, grid) < 1:
            raise IslesError(
                "E-NET-44",
                "no such encoder",
                where="ContextEncoder",
                found=f"channels {in_channels}, {base_channels}, length {length}, grid {grid}",
                fix="all of them are at least 1",
            )
        widths = [in_channels, base_channels, 2 * base_channels, 4 * base_channels, 2 * base_channels, length]
        halve = [
            nn.Conv2d(i, o, kernel_size=3, stride=2, padding=1) for i, o in zip(widths[:-1], widths[1:], strict=True)
        ]
        self.layers = nn.Sequential(
            *(layer for conv in halve[:3] for layer in (conv, nn.ReLU(inplace=True))),
            nn.AdaptiveAvgPool2d(grid),
            halve[3],
            nn.ReLU(inplace=True),
            halve[4],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)
