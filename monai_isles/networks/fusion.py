"""FusionNet: one network for CT, perfusion maps and curves of a series, or any part of them."""

# TorchScript reads these annotations as types: no `from __future__ import annotations` here.
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import UnetResBlock, UnetUpBlock
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.blocks import crop_to, pad_to_multiple, require_sizes

GROUPS = ("ct", "maps", "series", "mirror")
_BLOCK: dict[str, Any] = {"spatial_dims": 2, "kernel_size": 3, "norm_name": "batch"}


class FusionNet(nn.Module):
    """Segment a slice from three slices of CT and maps, its curves, and the mirror image of both.

    The head lies upright with its midline in the middle (``UprightHeadd``), so the mirror image is a flip of the first
    axis. Curves in arterial time go voxel by voxel through a small encoder; own side, other side and their difference
    join the images. A residual encoder and a plain decoder follow. Groups that are absent by their mark are set to zero
    first, so that its values do not matter.

    A slice is seen in one of two views by the same weights: CT and given maps, or CT, the maps measured from the series
    and its curves. Where both are there, the prediction is the mean of the two probabilities, and the training takes
    the given maps.

    Shapes: ``(N, slices * (2 images - 1 + times + 4), H, W)`` in, slice by slice: CT, given maps, measured maps,
    curves, marks of ``GROUPS``; logits ``(N, K, H, W)`` out, any H and W. While training ``(N, stages, K, H, W)``,
    those of every decoder stage, the finest first, enlarged (deep supervision).
    Args:
        images, times, slices: number of CT and maps of a view, of times of a curve, and (odd) of slices.
        widths: channels by resolution, each half the one before.
        features: of an encoded curve.
    Raises: ``E-NET-49`` the sizes of the network are not valid.
    Source: ours; residual encoder after Isensee 2024 (arXiv:2404.09556), blocks of MONAI's ``DynUNet``.

    >>> FusionNet(widths=(4, 8)).eval()(torch.zeros(1, 87, 20, 24)).shape
    torch.Size([1, 2, 20, 24])
    """

    def __init__(
        self, images: int = 5, times: int = 16, slices: int = 3, out_channels: int = 2,
        widths: Sequence[int] = (16, 32, 48, 64, 96), features: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = {"times": times, "features": features, "levels": len(widths), "width": min(widths, default=0)}
        require_sizes("E-NET-49", self, maps=images - 1, odd_slices=slices % 2, **sizes)
        self.images, self.times, self.slices, self.marks = images, times, slices, len(GROUPS)
        self.channels = 2 * images - 1 + times + self.marks
        self.in_channels = slices * self.channels
        self.multiple = 2 ** (len(widths) - 1)
        self.curve = nn.Sequential(
            nn.Conv2d(times, times, 1), nn.LeakyReLU(0.01), nn.Conv2d(times, features, 1), nn.LeakyReLU(0.01)
        )
        joined = 2 * slices * images + 3 * features + self.marks
        self.down = nn.ModuleList(
            UnetResBlock(in_channels=before, out_channels=width, stride=1 if before == joined else 2, **_BLOCK)
            for before, width in zip((joined, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            UnetUpBlock(in_channels=low, out_channels=high, stride=1, upsample_kernel_size=2, **_BLOCK)
            for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in widths[-2::-1])

    def forward(self, x: Tensor) -> Tensor:
        slices = x.reshape(x.shape[0], self.slices, self.channels, x.shape[2], x.shape[3])
        # The largest: a turned slice has no marks in the corners that came from outside.
        marks = slices[:, self.slices // 2, self.channels - self.marks :].amax([2, 3], True)
        maps, series = marks[:, 1:2], marks[:, 2:3]
        if self.training:
            return self.stages(self.join_groups(slices, (1 - maps) * series))
        seen = torch.cat(
            [self.join_groups(slices, torch.zeros_like(maps)), self.join_groups(slices, torch.ones_like(series))]
        )
        both = self.stages(seen).float().softmax(1)
        given, measured = both[: x.shape[0]], both[x.shape[0] :]  # chunk() would fix N in the exported graph
        # Marks are 0 or 1; by other numbers, as of a random window, probabilities would cancel each other out.
        maps, series = (maps > 0.5).to(both.dtype), (series > 0.5).to(both.dtype)
        by_series = series * (2 - maps) / 2  # 0, a half where both are there, or 1
        return (given * (1 - by_series) + measured * by_series).clamp_min(1e-12).log()

    def stages(self, x: Tensor) -> Tensor:
        """Return the logits of the joined channels; of every decoder stage, (N, stages, K, H, W), while training."""
        x, sizes = pad_to_multiple(x, [self.multiple, self.multiple])
        size = x.shape[2:]
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        x = skips.pop()
        outputs: list[Tensor] = []
        for stage, head in zip(self.up, self.heads):  # noqa: B905 (TorchScript has no strict)
            x = stage(x, skips.pop())
            if self.training:
                larger = F.interpolate(head(x), size=size, mode="bilinear", align_corners=False)
                outputs.insert(0, crop_to(larger, sizes))
        return torch.stack(outputs, 1) if self.training else crop_to(self.heads[-1](x), sizes)

    def join_groups(self, slices: Tensor, by_series: Tensor) -> Tensor:
        """Return the input of the first stage for one view, zero where a group is absent.

        Shapes: ``(N, slices, 2 images - 1 + times + 4, H, W)``, and ``(N, 1, 1, 1)`` with 1 for the view of the series;
        ``(N, 2 slices * images + 3 features + 4, H, W)`` out.
        """
        maps, n = self.images - 1, self.images
        ct, given, measured, _, marks = slices.split([1, maps, maps, self.times, self.marks], 2)
        chosen = torch.where(by_series[:, None] > 0, measured * marks[:, :, 2:3], given * marks[:, :, 1:2])
        images = torch.cat([ct * marks[:, :, :1], chosen], 2).flatten(1, 2)
        here = slices[:, self.slices // 2]
        marks = here[:, n + maps + self.times :]
        shown = marks[:, 2:3] * by_series
        curves = self.curve(here[:, n + maps : n + maps + self.times]) * shown
        own = torch.cat([images, curves], 1)
        mirror = marks[:, 3:4]
        apart = (curves - curves.flip(2)) * mirror
        known = torch.cat([marks[:, :1], torch.maximum(marks[:, 1:2], shown), shown, mirror], 1)
        return torch.cat([own, own.flip(2) * mirror, apart, known], 1)
