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
    join the images. A residual encoder and a plain decoder follow. What a group's mark says is absent is set to zero
    first, so that its values do not matter.

    Shapes: ``(N, slices * (images + times + 4), H, W)`` in, slice by slice: CT, maps, curves, marks of ``GROUPS``;
    logits ``(N, K, H, W)`` out, any H and W. While training ``(N, stages, K, H, W)``, those of every decoder stage, the
    finest first, enlarged (deep supervision).
    Args:
        images: CT and maps. times: of a curve. slices: an odd number.
        widths: channels by resolution, each half the one before.
        features: of an encoded curve.
    Raises: ``E-NET-49`` sizes that make no network.
    Source: ours; residual encoder after Isensee 2024 (arXiv:2404.09556), blocks of MONAI's ``DynUNet``.

    >>> FusionNet(widths=(4, 8)).eval()(torch.zeros(1, 75, 20, 24)).shape
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
        self.in_channels = slices * (images + times + self.marks)
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
        x, sizes = pad_to_multiple(self.join_groups(x), [self.multiple, self.multiple])
        size = x.shape[2:]
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        x = skips.pop()
        outputs: list[Tensor] = []
        for stage, head in zip(self.up, self.heads):  # noqa: B905 (TorchScript knows no strict)
            x = stage(x, skips.pop())
            if self.training:
                larger = F.interpolate(head(x), size=size, mode="bilinear", align_corners=False)
                outputs.insert(0, crop_to(larger, sizes))
        return torch.stack(outputs, 1) if self.training else crop_to(self.heads[-1](x), sizes)

    def join_groups(self, x: Tensor) -> Tensor:
        """Return all that the first stage sees, zero where a group is absent.

        Shapes: ``(N, slices * (images + times + 4), H, W)`` in; ``(N, 2 slices * images + 3 features + 4, H, W)`` out.
        """
        slices = x.reshape(x.shape[0], self.slices, self.images + self.times + self.marks, x.shape[2], x.shape[3])
        here = slices[:, self.slices // 2]
        marks = here[:, self.images + self.times :]
        shown = torch.cat([marks[:, :1], marks[:, 1:2].expand(-1, self.images - 1, -1, -1)], 1)
        images = (slices[:, :, : self.images] * shown[:, None]).flatten(1, 2)
        curves = self.curve(here[:, self.images : self.images + self.times]) * marks[:, 2:3]
        own = torch.cat([images, curves], 1)
        other = own.flip(2) * marks[:, 3:4]
        apart = (curves - curves.flip(2)) * marks[:, 3:4]
        return torch.cat([own, other, apart, marks], 1)
