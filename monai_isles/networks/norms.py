"""Switchable normalisation: a learned mixture of instance, layer and batch statistics."""

# TorchScript reads these annotations as types: no `from __future__ import annotations` here.
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Lone(nn.modules.batchnorm._BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        from_batch = self.training and x.numel() > x.shape[1]
        if from_batch and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, from_batch, momentum, self.eps
        )


class LoneBatchNorm2d(_Lone, nn.BatchNorm2d):
    """Normalise a batch that holds a single value a channel by the running statistics, also while training.

    One value has no variance: torch refuses it, and its own mean would erase it. Such a batch (one slice pooled to 1x1)
    is normalised as in evaluation and leaves the statistics as they are; if every batch is one, they stay at mean 0 and
    variance 1, in training as in evaluation, and scale and shift alone are learned.

    Shapes: ``(N, C, H, W)`` in and out. Equal to ``torch.nn.BatchNorm2d`` wherever ``N * H * W > 1``.
    Source: ours; ``tests/networks/test_lone_batch_norm.py``.
    """


class LoneBatchNorm3d(_Lone, nn.BatchNorm3d):
    """Do for volumes what ``LoneBatchNorm2d`` does for slices. Shapes: ``(N, C, H, W, D)`` in and out."""


class SwitchableNorm2d(nn.Module):
    """Normalise by the mean and the variance that two softmaxes mix from three kinds of statistics.

    All three kinds follow from mean and variance of each channel of each image: those of a layer average them over the
    channels, those of a batch over the images, and the spread of the means adds to the variance. In evaluation the
    batch's are moving averages. Variances are the population's, so one image of one pixel is allowed. Half precision
    is normalised in single.

    Shapes: ``(N, C, H, W)`` in, the same out.
    Args:
        channels: C.
        eps: added to the mixed variance.
        momentum: share of the present batch in the moving averages.
    Source: Luo 2018 (arXiv:1806.10779), section 2; mixture weights start equal.

    >>> SwitchableNorm2d(3)(torch.randn(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        values = x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x
        var, mean = torch.var_mean(values, dim=[2, 3], correction=0, keepdim=True)  # (N, C, 1, 1): instance
        layer_mean = mean.mean(dim=1, keepdim=True)
        layer_var = var.mean(dim=1, keepdim=True) + mean.var(dim=1, correction=0, keepdim=True)
        if self.training:
            batch_mean = mean.mean(dim=0, keepdim=True)
            batch_var = var.mean(dim=0, keepdim=True) + mean.var(dim=0, correction=0, keepdim=True)
            with torch.no_grad():
                self.running_mean.lerp_(batch_mean.detach().flatten().to(self.running_mean.dtype), self.momentum)  # type: ignore
                self.running_var.lerp_(batch_var.detach().flatten().to(self.running_var.dtype), self.momentum)  # type: ignore
        else:
            batch_mean, batch_var = self.running_mean.view(1, -1, 1, 1), self.running_var.view(1, -1, 1, 1)  # type: ignore[operator]
        share = torch.softmax(self.mean_weight, dim=0)
        mixed_mean = share[0] * mean + share[1] * layer_mean + share[2] * batch_mean
        share = torch.softmax(self.var_weight, dim=0)
        mixed_var = share[0] * var + share[1] * layer_var + share[2] * batch_var
        scale = self.weight.view(1, -1, 1, 1) * torch.rsqrt(mixed_var + self.eps)
        shift = self.bias.view(1, -1, 1, 1) - mixed_mean * scale
        return torch.addcmul(shift, values, scale).to(x.dtype)
