from .asymmetric_res_unet import AsymmetricResUNet, Cascade
from .blocks import AnySize, SqueezeExcitation, SwitchableNorm2d, xavier_
from .fusion import FusionNet
from .pseudo_dwi_net import ContextEncoder, MultiScaleDiscriminator, PseudoDWINet, StrokeFCN
from .pspnet import PSPNet, with_aux
from .threshold_rule import ThresholdRule
from .unets import AnisotropicUNet, AnisotropicVNet, R2UNet, RonnebergerUNet, SLNet, WangResUNet

__all__ = [
    "AnisotropicUNet",
    "AnisotropicVNet",
    "AnySize",
    "AsymmetricResUNet",
    "Cascade",
    "ContextEncoder",
    "FusionNet",
    "MultiScaleDiscriminator",
    "PSPNet",
    "PseudoDWINet",
    "R2UNet",
    "RonnebergerUNet",
    "SLNet",
    "SqueezeExcitation",
    "StrokeFCN",
    "SwitchableNorm2d",
    "ThresholdRule",
    "WangResUNet",
    "with_aux",
    "xavier_",
]
