"""Blocks that several networks share: residual blocks, normalisation, dropout, resampling, outputs."""

# TorchScript reads these annotations as types: no `from __future__ import annotations` here.
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused


class PseudoDWIOutput(NamedTuple):
    """Segmentation and synthetic images of a slice.

    Shapes: logits ``(N, K, H, W)``; ``pseudo_dwi`` (I_g) and, with an extractor, ``extracted`` (F_h) ``(N, 1, H, W)``;
    ``maps``, the perfusion maps that the image was made of, ``(N, C, H, W)``, for a conditional discriminator.
    Units: both images on the scale of a DWI whose minimum is 0 and whose 99th percentile is 1.
    """

    logits: Tensor
    pseudo_dwi: Tensor
    extracted: Tensor | None
    maps: Tensor | None = None


class ThresholdOutput(NamedTuple):
    """Hold the logits of the target and the scores of both clinical rules.

    Shapes: logits ``(N, 2, *space)`` of the target; ``core`` and ``hypoperfused`` ``(N, 1, *space)``, scores in 0..1.
    """

    logits: Tensor
    core: Tensor
    hypoperfused: Tensor


def xavier_(module: nn.Module) -> nn.Module:
    """Draw the weights of all convolutions and linear layers from Glorot's uniform distribution, zero their biases.

    Returns ``module`` itself, changed in place; normalisations stay as they are.
    Source: Glorot 2010 (AISTATS), equation 16, as used in Wang 2020, section 4.1.

    >>> bool((xavier_(nn.Linear(3, 2)).bias == 0).all())
    True
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def require_sizes(code: str, network: nn.Module, **sizes: int) -> None:
    """Refuse a network of impossible sizes: fewer than two ``levels``, or less than one of anything else."""
    if any(size < (2 if name == "levels" else 1) for name, size in sizes.items()):
        result = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise refused(code, where=type(network).__name__, found=result)


def pad_to_multiple(x: Tensor, multiple: list[int]) -> tuple[Tensor, list[int]]:
    """Return ``x`` padded at its far ends to the next multiples, and its own sizes for ``crop_to``."""
    # The last voxel of each row is repeated: where the border is background this repeats the background's value, also
    # after normalisation.
    sizes = [x.shape[axis + 2] for axis in range(len(multiple))]
    pad: list[int] = []
    # ``F.pad`` counts from the last axis.
    for axis in range(len(multiple) - 1, -1, -1):
        pad += [0, -sizes[axis] % multiple[axis]]
    return F.pad(x, pad, mode="replicate"), sizes


class AnySize(nn.Module):
    """Pad inputs to sizes that the network can halve, by repeating the border, and crop its output.

    Shapes: ``(N, C, *spatial)`` in, ``(N, K, *spatial)`` out, any spatial sizes.
    Args:
        multiple: spatial sizes that the network takes are multiples of this.

    >>> AnySize(nn.Conv2d(1, 2, 3, stride=1, padding=1), multiple=4)(torch.zeros(1, 1, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, x: Tensor) -> Tensor:
        padded, sizes = pad_to_multiple(x, [self.multiple] * (x.ndim - 2))
        return crop_to(self.network(padded), sizes)


def crop_to(x: Tensor, sizes: list[int]) -> Tensor:
    """Return the first ``sizes`` voxels of each spatial axis: the inverse of ``pad_to_multiple``."""
    for axis, size in enumerate(sizes):
        x = x.narrow(axis + 2, 0, size)
    return x


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a weight in (0, 1) computed from the means of all channels.

    Shapes: ``(N, C, H, W)`` in, the same out.
    Args:
        channels: C, also the width of the hidden layer: no reduction, which matches Wang's parameter count.
    Source: Hu 2018 (CVPR, doi:10.1109/CVPR.2018.00745), section 3, as used in Wang 2020, section 3.3.

    >>> SqueezeExcitation(32)(torch.ones(1, 32, 4, 4)).shape
    torch.Size([1, 32, 4, 4])
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


class NetworkOfParts(nn.Module):
    """Train the named parts of a network one at a time: the base of networks that have such parts."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen: tuple[str, ...] = ()

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts this network has, in the order in which they are trained one after another."""
        return dict(self.named_children())

    def train_only(self, *names: str) -> None:
        """Freeze all parts but these; without names, train all of them."""
        # A frozen part has no gradients and stays in evaluation mode whatever its mode, so that its normalisation
        # statistics stay.
        parts = self.parts()
        if unknown := [name for name in names if name not in parts]:
            where = f"{type(self).__name__}.train_only"
            raise refused("E-NET-48", where=where, found=", ".join(map(repr, unknown)), parts=", ".join(parts))
        self.frozen = tuple(name for name in parts if names and name not in names)
        for name, part in parts.items():
            part.requires_grad_(name not in self.frozen)
        # ``requires_grad`` leaves running statistics moving: only the evaluation mode holds them.
        self.train(self.training)

    def train(self, mode: bool = True) -> "NetworkOfParts":
        """Set the mode of all parts that are not frozen."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self


_ALPHA = 1.7580993408473766  # minus the limit of SELU at minus infinity


class PredictionDropout(nn.Module):
    """Drop single elements at prediction time, and only while ``active``.

    A dropped element is 0, the others are multiplied by ``1 / (1 - rate)``. With ``alpha`` a dropped element is -1.758,
    and all are scaled and shifted to keep zero mean and unit variance (alpha dropout). While ``active``, a ``mask`` (0
    where dropped, ``1 / (1 - rate)`` elsewhere) is used if given; otherwise torch draws.

    Shapes: any in, the same out. Identity in training and in plain evaluation.
    Source: uncertainty filtering, Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3; alpha dropout,
    Klambauer 2017 (arXiv:1706.02515), section 2, as the paper's released code has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active, self.alpha, self.rate, self.mask = False, False, 0.1, None

    def forward(self, x: Tensor) -> Tensor:
        if not self.active:
            return x
        if self.mask is not None:
            return self.apply_mask(x, self.mask.to(x.dtype))
        return F.alpha_dropout(x, self.rate, True) if self.alpha else F.dropout(x, self.rate, True)

    def apply_mask(self, x: Tensor, mask: Tensor) -> Tensor:
        """Drop the elements where ``mask`` is 0."""
        if not self.alpha:
            return x * mask
        # Dropped elements take the limit of SELU at minus infinity; scale and shift restore mean 0 and variance 1.
        scale = (1.0 + self.rate * _ALPHA**2) ** -0.5 * (1.0 - self.rate) ** -0.5
        return torch.where(mask > 0, x, -_ALPHA) * scale + scale * _ALPHA * self.rate


def conv3(dims: int, ins: int, outs: int, *, stride: int = 1) -> nn.Module:
    """Return a biased convolution with kernel 3 and padding 1."""
    return getattr(nn, f"Conv{dims}d")(ins, outs, kernel_size=3, stride=stride, padding=1)


def preactivated_conv(dims: int, channels: int, *, stride: int = 1) -> nn.Sequential:
    """Return batch norm, PReLU, convolution: ``channels`` in and out."""
    norm = getattr(nn, f"BatchNorm{dims}d")(channels, eps=1e-3, momentum=0.01)
    return nn.Sequential(norm, nn.PReLU(channels, init=0.0), conv3(dims, channels, channels, stride=stride))


class ResidualBlock(nn.Module):
    """Add ``convolutions`` pre-activated convolutions to their input.

    Shapes: ``(N, C, *spatial)`` in and out. ``prediction_dropout`` puts a site for it at the entry; ``dropout`` drops
    channels between the convolutions while training.
    Source: Clerigues 2019, section 3.2: two convolutions in the encoder, one in the decoder.
    """

    def __init__(
        self, dims: int, channels: int, *, convolutions: int, prediction_dropout: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        # At the entry every convolution of the path sees the dropped elements, and the sum keeps the input whole.
        layers: list[nn.Module] = [PredictionDropout()] if prediction_dropout else []
        for index in range(convolutions):
            if index and dropout:
                layers.append(getattr(nn, f"Dropout{dims}d")(dropout))
            layers.append(preactivated_conv(dims, channels))
        self.path = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x)


class Down(nn.Module):
    """Halve the resolution and double the channels by strided convolution and max pooling."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.conv = preactivated_conv(dims, channels, stride=2)
        self.pool = getattr(nn, f"MaxPool{dims}d")(2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.pool(x)], dim=1)


def up(dims: int, channels: int) -> nn.Module:
    """Return the transposed convolution that doubles the resolution and halves ``2 * channels``."""
    kind = getattr(nn, f"ConvTranspose{dims}d")
    return kind(2 * channels, channels, kernel_size=3, stride=2, padding=1, output_padding=1)


class _Lone(nn.modules.batchnorm._BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        # A value alone in its channel would give variance 0: the running statistics serve instead.
        batch = self.training and x.numel() > x.shape[1]
        if batch and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, batch, momentum, self.eps)


class LoneBatchNorm2d(_Lone, nn.BatchNorm2d):
    """Normalise a batch of a single value per channel by the running statistics, also while training.

    Such a batch (one slice pooled to 1x1), which torch refuses, is normalised as in evaluation and does not change the
    statistics.

    Shapes: ``(N, C, H, W)`` in and out. Equal to ``torch.nn.BatchNorm2d`` wherever ``N * H * W > 1``.
    """


class LoneBatchNorm3d(_Lone, nn.BatchNorm3d):
    """Normalise volumes as ``LoneBatchNorm2d`` normalises slices. Shapes: ``(N, C, H, W, D)`` in and out."""


class SwitchableNorm2d(nn.Module):
    """Normalise by a mean and a variance that are learned mixtures of three kinds of statistics.

    All three kinds follow from mean and variance of each channel of each image: those of a layer average them over the
    channels, those of a batch over the images, and the spread of the means adds to the variance. In evaluation the
    batch's are moving averages. Variances are the population's, so one image of one pixel is allowed. Half precision
    is normalised in single precision.

    Shapes: ``(N, C, H, W)`` in, the same out.
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
        # Total variance: mean of the variances plus variance of the means; so no second pass over the pixels.
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


def conv_norm_relu(
    ins: int, outs: int, *, dims: int = 2, norm: Callable[[int], nn.Module] = LoneBatchNorm2d
) -> nn.Sequential:
    """Return a biased convolution of kernel 3 and unit padding with its normalisation and ReLU."""
    return nn.Sequential(conv3(dims, ins, outs), norm(outs), nn.ReLU(inplace=True))


def double_conv(ins: int, middle: int, outs: int, **kind: Any) -> nn.Sequential:
    """Return two of ``conv_norm_relu`` in a row."""
    return nn.Sequential(*conv_norm_relu(ins, middle, **kind), *conv_norm_relu(middle, outs, **kind))
