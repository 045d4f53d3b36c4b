"""Batch normalisation by the statistics of the whole batch where several processes share it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.batch_share import SHARE, gathered


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
