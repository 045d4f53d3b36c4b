"""Blocks that several networks share: residual blocks, dropout, resolution changes; outputs beside the logits."""

# TorchScript reads these annotations as types: no `from __future__ import annotations` here.
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused


class PseudoDWIOutput(NamedTuple):
    """Segmentation and synthetic images of a slice.

    Shapes: logits ``(N, K, H, W)``; ``pseudo_dwi`` (I_g) and, with an extractor, ``extracted`` (F_h) ``(N, 1, H, W)``;
    ``maps``, the perfusion maps that the image was made of, ``(N, C, H, W)``: a discriminator may ask for them.
    Units: both images on the scale of a DWI whose minimum is 0 and whose 99th percentile is 1.
    """

    logits: Tensor
    pseudo_dwi: Tensor
    extracted: Tensor | None
    maps: Tensor | None = None


class ThresholdOutput(NamedTuple):
    """Both rules of the clinic, whichever of them is the target.

    Shapes: logits ``(N, 2, *space)`` of the target; ``core`` and ``hypoperfused`` ``(N, 1, *space)``, scores in 0..1.
    """

    logits: Tensor
    core: Tensor
    hypoperfused: Tensor


_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d, nn.Linear)


def xavier_(module: nn.Module) -> nn.Module:
    """Draw the weights of all convolutions and linear layers from Glorot's uniform distribution, zero their biases.

    Returns ``module`` itself, changed in place; normalisations stay as they are.
    Source: Glorot 2010 (AISTATS), equation 16, as used in Wang 2020, section 4.1.

    >>> bool((xavier_(nn.Linear(3, 2)).bias == 0).all())
    True
    """
    for layer in module.modules():
        if isinstance(layer, _WEIGHTED):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def initialise_(module: nn.Module, init: str) -> None:
    """Initialise in place: "xavier", or "torch" to keep what PyTorch drew.

    Raises:
        IslesError: ``E-NET-40`` for another name.
    """
    if init not in ("xavier", "torch"):
        raise refused("E-NET-40", where=type(module).__name__, found=f"init {init!r}")
    if init == "xavier":
        xavier_(module)


def padded_to(x: Tensor, multiple: list[int]) -> tuple[Tensor, list[int]]:
    """Return ``x`` continued after its end up to the next multiples, and its own sizes for ``cropped_to``.

    The last voxel of each row is repeated: where the border of an image is background, that is the background's value,
    whatever a normalisation made of it.

    Shapes: ``(N, C, *spatial)`` in; out each spatial size is the next multiple of its entry in ``multiple``.
    Args:
        multiple: one number for each spatial axis; 1 leaves that axis as it is.
    Source: ours; ``tests/networks/test_sizes.py``.
    """
    sizes = [x.shape[axis + 2] for axis in range(len(multiple))]
    pad: list[int] = []
    for axis in range(len(multiple) - 1, -1, -1):
        pad += [0, -sizes[axis] % multiple[axis]]
    return F.pad(x, pad, mode="replicate"), sizes


class AnySize(nn.Module):
    """Give a network inputs padded to sizes that it can halve, by repeating the border; crop its output.

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
        padded, sizes = padded_to(x, [self.multiple] * (x.ndim - 2))
        return cropped_to(self.network(padded), sizes)


def cropped_to(x: Tensor, sizes: list[int]) -> Tensor:
    """Return the first ``sizes`` voxels of each spatial axis: the inverse of ``padded_to``.

    Shapes: ``(N, C, *spatial)`` in, ``(N, C, *sizes)`` out.
    """
    for axis, size in enumerate(sizes):
        x = x.narrow(axis + 2, 0, size)
    return x


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a weight in (0, 1) that the means of all channels decide.

    Shapes: ``(N, C, H, W)`` in, the same out.
    Args:
        channels: C, also the width of the hidden layer: nothing is reduced, as Wang's parameter count asks.
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


_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_CHANNEL_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}


class PredictionDropout(nn.Module):
    """Drop single elements at prediction time, and only while ``active``.

    While ``active`` with a ``mask``, the input is multiplied by it (0 where dropped, ``1 / (1 - rate)`` elsewhere);
    without one, torch draws.

    Shapes: any in, the same out. Identity in training and in plain evaluation.
    Source: uncertainty filtering, Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3.

    >>> site = PredictionDropout().eval()
    >>> float(site(torch.ones(8)).sum())  # the identity, until prediction_dropout switches it on
    8.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = False
        self.rate = 0.1
        self.mask = None

    def forward(self, x: Tensor) -> Tensor:
        if self.active:
            if self.mask is not None:
                return x * self.mask.to(x.dtype)
            return F.dropout(x, self.rate, training=True)
        return x


def conv3(dims: int, ins: int, outs: int, *, stride: int = 1) -> nn.Module:
    """Return a biased convolution with kernel 3 and padding 1."""
    return _CONV[dims](ins, outs, kernel_size=3, stride=stride, padding=1)


def preactivated(dims: int, channels: int, *, stride: int = 1) -> nn.Sequential:
    """Return batch norm, PReLU, convolution: ``channels`` in and out."""
    norm = _BATCH_NORM[dims](channels, eps=1e-3, momentum=0.01)
    return nn.Sequential(norm, nn.PReLU(channels, init=0.0), conv3(dims, channels, channels, stride=stride))


class ResidualBlock(nn.Module):
    """Add ``convolutions`` pre-activated convolutions to their input.

    Shapes: ``(N, C, *spatial)`` in and out.
    Args:
        prediction_dropout: put a site for prediction dropout at the entry.
        dropout: channel-wise dropout between the convolutions while training.
    Source: Clerigues 2019, section 3.2: two convolutions in the encoder, one in the decoder.
    """

    def __init__(
        self, dims: int, channels: int, *, convolutions: int, prediction_dropout: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [PredictionDropout()] if prediction_dropout else []
        for index in range(convolutions):
            if index and dropout:
                layers.append(_CHANNEL_DROPOUT[dims](dropout))
            layers.append(preactivated(dims, channels))
        self.path = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x)


class Down(nn.Module):
    """Halve the resolution and double the channels: strided convolution beside max pooling.

    Shapes: ``(N, C, *spatial)`` in, ``(N, 2C, *spatial / 2)`` out.
    """

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.conv = preactivated(dims, channels, stride=2)
        self.pool = _MAX_POOL[dims](2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.pool(x)], dim=1)


def up(dims: int, channels: int) -> nn.Module:
    """Return the transposed convolution that doubles the resolution and halves ``2 * channels``."""
    return _TRANSPOSED[dims](2 * channels, channels, kernel_size=3, stride=2, padding=1, output_padding=1)
