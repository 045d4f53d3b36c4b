"""Layers whose numbers depend on the whole batch, for a batch that several processes share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_isles.networks.batch_share import SHARE, GroupSum
from monai_isles.networks.shared_batch_norm import SharedBatchNorm
from monai_isles.networks.norms import SwitchableNorm2d


class SharedSwitchableNorm2d(SwitchableNorm2d):
    """Take the batch's part of the statistics over the images of all processes; prints as what it stands for."""

    def _get_name(self) -> str:
        return "SwitchableNorm2d"

    def over_images(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        if SHARE.world == 1:
            return super().over_images(mean, var)
        counted = float(SHARE.counts)
        size = torch.full_like(mean[:1, :1], counted * len(mean))
        mine = torch.cat([counted * mean.sum(0, True), counted * var.sum(0, True), size], dim=1)
        sums = GroupSum.apply(mine.double())
        channels = mean.shape[1]
        all_mean, inner, total = sums[:, :channels], sums[:, channels:-1], sums[:, -1:]
        all_mean = all_mean / total
        spread = GroupSum.apply(counted * ((mean - all_mean) ** 2).sum(0, True))
        return all_mean.to(mean.dtype), ((inner + spread) / total).to(var.dtype)


class _SharedDropout:
    """Draw the noise of the whole batch in every process and use the rows of its own: the same as in one process.

    All processes begin with one seed and draw alike, so their random states stay equal.
    """

    def _get_name(self) -> str:
        return type(self).__name__.removeprefix("Shared")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or SHARE.world == 1 or not self.p:
            return super().forward(x)
        keep = 1.0 - self.p
        noise = x.new_empty(SHARE.total, *x.shape[1:2], *(1 for _ in x.shape[2:])).bernoulli_(keep).div_(keep)
        return x * (noise[SHARE.rank :: SHARE.world] if SHARE.counts else 1.0)


class SharedDropout2d(_SharedDropout, nn.Dropout2d):
    """Channel dropout of slices. Shapes: ``(N, C, H, W)``."""


class SharedDropout3d(_SharedDropout, nn.Dropout3d):
    """Channel dropout of volumes. Shapes: ``(N, C, H, W, D)``."""


def share_layers(network: nn.Module) -> nn.Module:
    """Let normalisations and channel dropout of ``network`` see the whole batch; in place, parameters untouched.

    Instance and layer normalisation need nothing. A network without any of these layers stays as it is.
    Source: ours; ``tests/networks/test_shared_layers.py``.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            setattr(parent, name, _shared(layer))
    return network


def _shared(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not isinstance(layer, nn.SyncBatchNorm):
        return SharedBatchNorm.of(layer)
    if type(layer) is SwitchableNorm2d:
        layer.__class__ = SharedSwitchableNorm2d
    if type(layer) is nn.Dropout2d:
        layer.__class__ = SharedDropout2d
    if type(layer) is nn.Dropout3d:
        layer.__class__ = SharedDropout3d
    return layer
