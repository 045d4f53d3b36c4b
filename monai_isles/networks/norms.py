"""Switchable normalisation: a learned mixture of instance, layer and batch statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.batch_share import SHARE, GroupSum, gathered


class _Lone:
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


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Do what ``torch.nn.SyncBatchNorm`` does on GPUs alone, and do not count a stand-in.

    On a GPU torch's own runs. It prints as the normalisation it stands for, which gives the same numbers, so that a
    checkpoint of several processes goes on in one. In evaluation nothing is exchanged. One value a channel in all is
    normalised by the running statistics, as ``LoneBatchNorm2d`` does.

    Shapes: ``(N, C, ...)`` in and out, N differing between the processes.
    Source: ours; equal to one process within rounding, ``tests/networks/test_shared_layers.py``.
    """

    @staticmethod
    def of(norm: nn.modules.batchnorm._BatchNorm) -> SharedBatchNorm:
        """Return one that takes over a normalisation's parameters, statistics and mode; the same tensors."""
        on_gpu = norm.running_mean is not None and norm.running_mean.device.type == "cuda"
        made = (_OnGpu if on_gpu else SharedBatchNorm)(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        for name, value in (*norm._parameters.items(), *norm._buffers.items()):
            setattr(made, name, value)
        made.stands_for = type(norm).__name__
        return made.train(norm.training)

    def _get_name(self) -> str:
        return getattr(self, "stands_for", type(self).__name__)

    def forward(self, x: Tensor) -> Tensor:
        lone = max(SHARE.total, len(x)) * x[0, 0].numel() == 1
        if not self.training or SHARE.world == 1 or lone:
            return self._plain(x, from_batch=self.training and not lone)
        return self._over_all(x)

    def _over_all(self, x: Tensor) -> Tensor:
        self.num_batches_tracked.add_(1)
        statistics = (self.running_mean, self.running_var)
        return _OverAll.apply(x, self.weight, self.bias, *statistics, self.eps, self.momentum, SHARE.counts)

    def _plain(self, x: Tensor, *, from_batch: bool) -> Tensor:
        if from_batch:
            self.num_batches_tracked.add_(1)
        statistics = (self.running_mean, self.running_var)
        return F.batch_norm(x, *statistics, self.weight, self.bias, from_batch, self.momentum, self.eps)


class _OnGpu(SharedBatchNorm, nn.SyncBatchNorm):
    def _over_all(self, x: Tensor) -> Tensor:
        if SHARE.counts:
            return nn.SyncBatchNorm.forward(self, x)
        beside = self._plain(x, from_batch=False)  # a stand-in; first, so that backward the exchange comes first
        return beside + nn.SyncBatchNorm.forward(self, x[:0]).sum()


class _OverAll(torch.autograd.Function):
    """Normalise by mean and variance over all processes; combined in float64, in the order of the ranks."""

    @staticmethod
    def forward(
        ctx: object, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        eps: float, momentum: float, counts: bool,
    ) -> Tensor:  # fmt: skip
        over, across = [0, *range(2, x.ndim)], (1, -1) + (1,) * (x.ndim - 2)
        var, mean = torch.var_mean(x, dim=over, correction=0)
        size = x.numel() // x.shape[1] if counts else 0
        mine = torch.stack([torch.full_like(mean, size), mean, var]).double()
        sizes, means, variances = gathered(mine).unbind(1)  # each (world, C)
        total = sizes.sum(0)
        mean = (sizes * means).sum(0) / total
        var = (sizes * (variances + (means - mean) ** 2)).sum(0) / total
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * total / (total - 1)).to(running_var.dtype), momentum)
        invstd = torch.rsqrt(var + eps)
        scale = invstd * weight
        out = torch.addcmul((bias - mean * scale).to(x.dtype).view(across), x, scale.to(x.dtype).view(across))
        ctx.save_for_backward(x, weight, mean.to(weight.dtype), invstd.to(weight.dtype))
        ctx.total, ctx.counts, ctx.over, ctx.across = total[0], counts, over, across
        return out

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd = ctx.saved_tensors
        centred = (x - mean.view(ctx.across)) * invstd.view(ctx.across)
        mine = torch.stack([gradient.sum(ctx.over), (gradient * centred).sum(ctx.over)])
        of_bias, of_weight = mine
        both = gathered(mine.double()).sum(0) / ctx.total
        of_x = gradient
        if ctx.counts:
            shift, slope = both.to(gradient.dtype)
            of_x = gradient - shift.view(ctx.across) - centred * slope.view(ctx.across)
        return of_x * (weight * invstd).view(ctx.across), of_weight, of_bias, None, None, None, None, None


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
            batch_mean, batch_var = self.over_images(mean, var)
            with torch.no_grad():
                self.running_mean.lerp_(batch_mean.detach().flatten().to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(batch_var.detach().flatten().to(self.running_var.dtype), self.momentum)
        else:
            batch_mean, batch_var = self.running_mean.view(1, -1, 1, 1), self.running_var.view(1, -1, 1, 1)
        share = torch.softmax(self.mean_weight, dim=0)
        mixed_mean = share[0] * mean + share[1] * layer_mean + share[2] * batch_mean
        share = torch.softmax(self.var_weight, dim=0)
        mixed_var = share[0] * var + share[1] * layer_var + share[2] * batch_var
        scale = self.weight.view(1, -1, 1, 1) * torch.rsqrt(mixed_var + self.eps)
        shift = self.bias.view(1, -1, 1, 1) - mixed_mean * scale
        return torch.addcmul(shift, values, scale).to(x.dtype)

    def over_images(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel over the images of the batch, from those of each image."""
        return mean.mean(dim=0, keepdim=True), (
            var.mean(dim=0, keepdim=True) + mean.var(dim=0, correction=0, keepdim=True)
        )


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
