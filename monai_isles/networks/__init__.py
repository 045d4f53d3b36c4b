"""Networks of the published systems."""

from monai_isles.networks.anisotropic_unet import AnisotropicUNet
from monai_isles.networks.anisotropic_vnet import AnisotropicVNet
from monai_isles.networks.asymmetric_res_unet import AsymmetricResUNet
from monai_isles.networks.blocks import PredictionDropout
from monai_isles.networks.context_encoder import ContextEncoder
from monai_isles.networks.folded_res_unet import FoldedResUNet
from monai_isles.networks.multi_scale_discriminator import MultiScaleDiscriminator
from monai_isles.networks.pretrained import PretrainedReport, load_pretrained
from monai_isles.networks.pseudo_dwi_net import PseudoDWINet
from monai_isles.networks.pseudo_dwi_output import PseudoDWIOutput
from monai_isles.networks.pspnet import PSPNet
from monai_isles.networks.r2unet import R2UNet
from monai_isles.networks.ronneberger_unet import RonnebergerUNet
from monai_isles.networks.shared_batch_norm import SharedBatchNorm
from monai_isles.networks.shared_layers import SharedSwitchableNorm2d, share_layers
from monai_isles.networks.slnet import SLNet
from monai_isles.networks.squeeze_excitation import SqueezeExcitation
from monai_isles.networks.stroke_fcn import StrokeFCN
from monai_isles.networks.switchable_norm import SwitchableNorm2d
from monai_isles.networks.threshold_output import ThresholdOutput
from monai_isles.networks.threshold_rule import ThresholdRule
from monai_isles.networks.wang_resunet import WangResUNet
from monai_isles.networks.with_aux import with_aux
from monai_isles.networks.xavier import xavier_

__all__ = [
    "AnisotropicUNet",
    "AnisotropicVNet",
    "AsymmetricResUNet",
    "ContextEncoder",
    "FoldedResUNet",
    "MultiScaleDiscriminator",
    "PSPNet",
    "PredictionDropout",
    "PretrainedReport",
    "PseudoDWINet",
    "PseudoDWIOutput",
    "R2UNet",
    "RonnebergerUNet",
    "SLNet",
    "SharedBatchNorm",
    "SharedSwitchableNorm2d",
    "SqueezeExcitation",
    "StrokeFCN",
    "SwitchableNorm2d",
    "ThresholdOutput",
    "ThresholdRule",
    "WangResUNet",
    "load_pretrained",
    "share_layers",
    "with_aux",
    "xavier_",
]
