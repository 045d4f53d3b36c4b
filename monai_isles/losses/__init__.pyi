from .focal import SoftmaxFocalLoss, WeightedCELoss
from .generalized_dice_ce import GeneralizedDiceCELoss, sudre_dice_loss
from .pseudo_dwi import PseudoDWILoss
from .stroke_segmentation import HardnessAwareGDLoss, StrokeSegmentationLoss
from .synthesis import SynthesisLoss, discriminator_ls_loss, generator_ls_loss

__all__ = [
    "GeneralizedDiceCELoss",
    "HardnessAwareGDLoss",
    "PseudoDWILoss",
    "SoftmaxFocalLoss",
    "StrokeSegmentationLoss",
    "SynthesisLoss",
    "WeightedCELoss",
    "discriminator_ls_loss",
    "generator_ls_loss",
    "sudre_dice_loss",
]
