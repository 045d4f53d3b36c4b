"""The discriminator of Wang's adversarial rows: patch judgements at several scales."""

from __future__ import annotations

from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import initialise_


class MultiScaleDiscriminator(nn.Module):
    """Judge patches of an image and of its halvings as real or synthetic.

    Each scale has a network of its own: ``layers`` 4x4 convolutions of stride 2, one of stride 1, a judging one; leaky
    ReLU of slope 0.2, instance normalisation from the second on. Scores are unbounded, for least squares.

    Shapes: ``(N, in_channels, H, W)`` in; a list of scores ``(N, 1, h, w)`` out, finest scale first.
    Args:
        in_channels: 1 judges the DWI by itself: then any realistic DWI will do, also that of another patient. With the
            number of perfusion maps added the loss puts them before the DWI, as pix2pixHD does, whose discriminator
            Wang's text names; the text itself names no condition.
        scales: how many, each half the last.
        layers: strided convolutions a scale.
    Raises:
        IslesError: ``E-NET-45`` for impossible sizes.
    Source: Wang T.-C. 2018 (CVPR, doi:10.1109/CVPR.2018.00917), section 3.2: three scales of 70x70 patches; Mao 2017
    (ICCV, doi:10.1109/ICCV.2017.304); used in Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.1.

    >>> import torch
    >>> verdicts = MultiScaleDiscriminator(base_channels=4)(torch.zeros(1, 1, 128, 128))
    >>> len(verdicts), verdicts[0].shape[:2]
    (3, torch.Size([1, 1]))
    """

    def __init__(
        self, in_channels: int = 1, base_channels: int = 64, scales: int = 3, layers: int = 3, init: str = "xavier"
    ) -> None:
        super().__init__()
        if min(in_channels, base_channels, scales, layers) < 1:
            raise refused(
                "E-NET-45",
                where="MultiScaleDiscriminator",
                found=f"channels {in_channels}, {base_channels}, {scales} scales, {layers} layers",
            )
        self.in_channels = in_channels
        self.judges = nn.ModuleList(_judge(in_channels, base_channels, layers) for _ in range(scales))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        initialise_(self, init)

    def forward(self, image: Tensor) -> list[Tensor]:
        scores: list[Tensor] = []
        for scale, judge in enumerate(self.judges):
            if scale > 0:
                image = self.halve(image)
            scores.append(judge(image))
        return scores


def _judge(in_channels: int, base_channels: int, layers: int) -> nn.Sequential:
    widths = [min(base_channels * 2**index, base_channels * 8) for index in range(layers + 1)]
    steps: list[nn.Module] = [_conv(in_channels, widths[0], 2), nn.LeakyReLU(0.2, inplace=True)]
    for index, (ins, outs) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
        conv = _conv(ins, outs, 2 if index < layers else 1)
        steps += [conv, nn.InstanceNorm2d(outs), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*steps, _conv(widths[-1], 1, 1))


def _conv(ins: int, outs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(ins, outs, kernel_size=4, stride=stride, padding=2)
