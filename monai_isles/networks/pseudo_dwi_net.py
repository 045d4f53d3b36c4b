"""The network of Wang 2020, which synthesises a DWI and segments it, its discriminator, and an FCN compared with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import (
    NetworkOfParts,
    PseudoDWIOutput,
    crop_to,
    pad_to_multiple,
    require_sizes,
    xavier_,
)
from monai_isles.networks.unets import RonnebergerUNet, SLNet


class ContextEncoder(nn.Module):
    """Describe an image of any size by a vector: the network Phi_c of equation 8.

    Three 3x3 convolutions of stride 2, an adaptive average pooling to a fixed grid, two more such convolutions, and an
    adaptive average pooling to one value a channel. ReLU follows all convolutions but the last.

    Shapes: ``(N, in_channels, H, W)`` in, ``(N, length)`` out.
    Args:
        grid: side of the fixed grid; 16 halves to 4.
    Raises: ``E-NET-44`` for impossible sizes.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 3.2: five convolutions, two adaptive average poolings,
    16 numbers. Figure 4 draws the widths and the order, which the text does not give: both are our reading.

    >>> ContextEncoder()(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 16])
    """

    def __init__(self, in_channels: int = 1, length: int = 16, base_channels: int = 16, grid: int = 16) -> None:
        super().__init__()
        require_sizes("E-NET-44", self, channels=in_channels, base_channels=base_channels, length=length, grid=grid)
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


class PseudoDWINet(NetworkOfParts):
    """Segment a lesion in a pseudo-DWI made of perfusion maps and of features of the raw series.

    The pseudo-DWI and the extracted feature are linear outputs: the paper names no bounding function for a DWI scaled
    to (0, 1). ``context_encoder`` (Phi_c) belongs to the network for the optimiser; only the synthesis loss runs it.

    Shapes: ``(N, C, H, W)`` in, any H and W: ``maps`` perfusion maps (cbf, cbv, mtt, tmax), the temporal maximum with
    ``low_level``, ``frames`` frames with ``high_level``, in this order. Logits ``(N, out_channels, H, W)`` out, or
    ``PseudoDWIOutput`` with ``return_aux``.
    Args:
        low_level: take F_l, the temporal maximum (equation 1).
        high_level: extract F_h from the frames (equation 4).
        segmenter: Phi_s; by default an ``SLNet`` of ``base_channels``.
        with_maps: segment maps and pseudo-DWI together (Table 5, F_o + DWI); the segmenter then has maps + 1 channels.
        contextual: hold a context encoder; False where no loss uses one.
        base_channels: of extractor, generator and the default segmenter.
        return_aux: return the synthetic images beside the logits; off for export.
    Raises: ``E-NET-46`` for impossible sizes, ``E-NET-47`` for an input of other channels, ``E-NET-48`` for parts that
    the network lacks.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), Figure 2, equations 4, 5 and 10.

    >>> network = PseudoDWINet(base_channels=1, return_aux=True)  # 4 maps, their temporal maximum, 6 frames
    >>> network(torch.zeros(1, 11, 32, 32)).pseudo_dwi.shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        low_level: bool = True,
        high_level: bool = True,
        segmenter: nn.Module | None = None,
        with_maps: bool = False,
        contextual: bool = True,
        base_channels: int = 64,
        out_channels: int = 2,
        maps: int = 4,
        frames: int = 6,
        return_aux: bool = False,
    ) -> None:
        super().__init__()
        require_sizes("E-NET-46", self, maps=maps, frames=frames, base_channels=base_channels, classes=out_channels)
        self.maps, self.low, self.frames = maps, int(low_level), frames if high_level else 0
        self.with_maps, self.return_aux = with_maps, return_aux
        self.in_channels = maps + self.low + self.frames
        self.extractor = RonnebergerUNet(frames, 1, base_channels) if high_level else None
        self.generator = RonnebergerUNet(maps + low_level + high_level, 1, base_channels)
        self.context_encoder = ContextEncoder() if contextual else None
        if segmenter is None:
            segmenter = SLNet(1 + maps * with_maps, out_channels, base_channels=base_channels, init="torch")
        self.segmenter = segmenter
        xavier_(self)

    def forward(self, x: Tensor) -> Tensor | PseudoDWIOutput:
        if not torch.jit.is_scripting() and x.shape[1] != self.in_channels:
            self._refuse(x.shape[1])
        inputs = x[:, : self.maps + self.low]
        extracted: Tensor | None = None
        if self.extractor is not None:
            extracted = self.extractor(x[:, self.maps + self.low :])  # equation 4
            inputs = torch.cat([inputs, extracted], dim=1)
        pseudo_dwi = self.generator(inputs)  # equation 5
        seen = torch.cat([x[:, : self.maps], pseudo_dwi], dim=1) if self.with_maps else pseudo_dwi
        logits = self.segmenter(seen)  # equation 10, before the softmax
        if self.return_aux:
            return PseudoDWIOutput(logits, pseudo_dwi, extracted, x[:, : self.maps])
        return logits

    def _refuse(self, channels: int) -> None:
        known = f"{self.maps} maps, {self.low} maximum, {self.frames} frames"
        raise refused("E-NET-47", where="PseudoDWINet", found=f"{channels} channels; {self.in_channels} are {known}")


class MultiScaleDiscriminator(nn.Module):
    """Classify patches of an image, at several scales, as real or synthetic.

    Each scale has its own network: ``layers`` 4x4 convolutions of stride 2, one of stride 1, an output layer; leaky
    ReLU of slope 0.2, instance normalisation from the second on. Scores are unbounded, for least squares.

    Shapes: ``(N, in_channels, H, W)`` in; a list of scores ``(N, 1, h, w)`` out, finest scale first.
    Args:
        in_channels: 1 judges the DWI alone: any realistic DWI passes, also that of another patient. With the number of
            perfusion maps added, the loss puts the maps before the DWI, as pix2pixHD does; Wang's text names its
            discriminator but no condition.
    Raises: ``E-NET-45`` for impossible sizes.
    Source: Wang T.-C. 2018 (CVPR, doi:10.1109/CVPR.2018.00917), section 3.2: three scales of 70x70 patches; Mao 2017
    (ICCV, doi:10.1109/ICCV.2017.304); used in Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.1.

    >>> verdicts = MultiScaleDiscriminator(base_channels=4)(torch.zeros(1, 1, 128, 128))
    >>> len(verdicts), verdicts[0].shape[:2]
    (3, torch.Size([1, 1]))
    """

    def __init__(self, in_channels: int = 1, base_channels: int = 64, scales: int = 3, layers: int = 3) -> None:
        super().__init__()
        require_sizes("E-NET-45", self, channels=in_channels, base_channels=base_channels, scales=scales, layers=layers)
        self.in_channels = in_channels
        self.judges = nn.ModuleList(_judge(in_channels, base_channels, layers) for _ in range(scales))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        xavier_(self)

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


_VGG16 = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # width over the first, convolutions


class StrokeFCN(nn.Module):
    """FCN: the convolutions of VGG16, then five doublings of resolution that add the pooled features on their way.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Raises: ``E-NET-42`` for a number of channels below 1.
    Source: Long 2015 (CVPR, doi:10.1109/CVPR.2015.7298965), Simonyan 2015 (arXiv:1409.1556), configuration D. Wang
    2020 (doi:10.1016/j.media.2020.101787), Table 3, gives 18.64 M; met with 4 channels by 3x3 transposed convolutions
    with ReLU and batch normalisation to 512, 256, 128, 64 and 32 channels before a 1x1 classifier.

    >>> StrokeFCN(in_channels=4)(torch.zeros(1, 4, 32, 32)).shape
    torch.Size([1, 2, 32, 32])
    """

    def __init__(self, in_channels: int = 4, out_channels: int = 2, base_channels: int = 64) -> None:
        super().__init__()
        require_sizes("E-NET-42", self, channels=in_channels, classes=out_channels, half_width=base_channels // 2)
        widths = [base_channels * times for times, _ in _VGG16]
        ins = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            _stage(i, o, convolutions) for i, o, (_, convolutions) in zip(ins, widths, _VGG16, strict=True)
        )
        ups = [*widths[-2::-1], base_channels // 2]
        self.up = nn.ModuleList(_double(i, o) for i, o in zip([widths[-1], *ups[:-1]], ups, strict=True))
        self.head = nn.Conv2d(ups[-1], out_channels, kernel_size=1)
        xavier_(self)

    def forward(self, x: Tensor) -> Tensor:
        x, sizes = pad_to_multiple(x, [32, 32])
        skips: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for grow in self.up:
            x = grow(x)
            if len(skips) > 0:
                x = x + skips.pop()
        return crop_to(self.head(x), sizes)


def _stage(ins: int, outs: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += [nn.Conv2d(outs if index else ins, outs, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def _double(ins: int, outs: int) -> nn.Sequential:
    grow = nn.ConvTranspose2d(ins, outs, kernel_size=3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(grow, nn.ReLU(inplace=True), nn.BatchNorm2d(outs))
