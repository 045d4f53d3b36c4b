from .anisotropic import AnisotropicUNet
from .anisotropic_vnet import AnisotropicVNet
from .asymmetric_res_unet import AsymmetricResUNet
from .blocks import PredictionDropout
from .context_encoder import ContextEncoder
from .discriminator import MultiScaleDiscriminator
from .norms import SwitchableNorm2d
from .pretrained import PretrainedReport, load_pretrained
from .pseudo_dwi_net import PseudoDWINet
from .pseudo_dwi_output import PseudoDWIOutput
from .pspnet import PSPNet
from .r2unet import R2UNet
from .ronneberger_unet import RonnebergerUNet
from .shared_batch_norm import SharedBatchNorm
from .shared_layers import SharedSwitchableNorm2d, share_layers
from .slnet import SLNet
from .squeeze_excitation import SqueezeExcitation
from .stroke_fcn import StrokeFCN
from .threshold_output import ThresholdOutput
from .threshold_rule import ThresholdRule
from .wang_resunet import WangResUNet
from .with_aux import with_aux
from .xavier import xavier_

__all__ = ["AnisotropicUNet", "AnisotropicVNet", "AsymmetricResUNet", "ContextEncoder", "MultiScaleDiscriminator", "PSPNet", "PredictionDropout", "PretrainedReport", "PseudoDWINet", "PseudoDWIOutput", "R2UNet", "RonnebergerUNet", "SLNet", "SharedBatchNorm", "SharedSwitchableNorm2d", "SqueezeExcitation", "StrokeFCN", "SwitchableNorm2d", "ThresholdOutput", "ThresholdRule", "WangResUNet", "load_pretrained", "share_layers", "with_aux", "xavier_"]
