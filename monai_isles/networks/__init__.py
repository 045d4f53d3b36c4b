"""Networks of the published systems."""

from monai_isles.networks.asymmetric_res_unet import AsymmetricResUNet
from monai_isles.networks.blocks import PredictionDropout

__all__ = ["AsymmetricResUNet", "PredictionDropout"]
