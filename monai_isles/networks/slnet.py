"""SLNet of Wang 2020: a U-Net with switchable normalisation and channel calibration."""

from __future__ import annotations

from torch import nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import SqueezeExcitation, initialise_
from monai_isles.networks.norms import LoneBatchNorm2d, SwitchableNorm2d
from monai_isles.networks.unets import RonnebergerUNet

_NORMS = {"switchable": SwitchableNorm2d, "batch": LoneBatchNorm2d, "none": nn.Identity}


class SLNet(RonnebergerUNet):
    """Segment a stroke lesion: each encoder block of the U-Net ends in squeeze and excitation.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        norm: "switchable", "batch" (Table 3, w/o SN) or "none".
        squeeze_excitation: False leaves the calibration out (Table 3, w/o SE).
        init: "xavier" or "torch".
    Raises:
        IslesError: ``E-NET-41`` for an unknown normalisation; ``E-NET-20``, ``E-NET-40`` for other settings.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 3.3 and Figure 5. Table 3, with 4 channels: 33.84 M,
    31.04 M without calibration, 33.84 M with batch normalisation.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        norm: str = "switchable",
        squeeze_excitation: bool = True,
        base_channels: int = 64,
        levels: int = 5,
        init: str = "xavier",
    ) -> None:
        if norm not in _NORMS:
            raise refused("E-NET-41", where="SLNet", found=f"norm {norm!r}", norms=", ".join(_NORMS))
        super().__init__(in_channels, out_channels, base_channels, levels, norm=_NORMS[norm])
        if squeeze_excitation:
            widths = [base_channels * 2**level for level in range(levels)]
            self.encoder = nn.ModuleList(
                nn.Sequential(block, SqueezeExcitation(width))
                for block, width in zip(self.encoder, widths, strict=True)
            )
        initialise_(self, init)
