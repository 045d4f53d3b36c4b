"""Channel calibration by squeeze and excitation."""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a weight in (0, 1) that the means of all channels decide.

    Shapes: ``(N, C, H, W)`` in, the same out.
    Args:
        channels: C, also the width of the hidden layer: nothing is reduced, as Wang's parameter count asks.
    Source: Hu 2018 (CVPR, doi:10.1109/CVPR.2018.00745), section 3, as used in Wang 2020, section 3.3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)
