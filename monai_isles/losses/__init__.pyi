from .focal import SoftmaxFocalLoss, WeightedCELoss
from .stroke_segmentation import (
    GeneralizedDiceCELoss,
    HardnessAwareGDLoss,
    StagesLoss,
    StrokeSegmentationLoss,
    sudre_dice_loss,
)
from .synthesis import PseudoDWILoss, SynthesisLoss, discriminator_ls_loss, generator_ls_loss

__all__ = [
    "GeneralizedDiceCELoss",
    "HardnessAwareGDLoss",
    "PseudoDWILoss",
    "SoftmaxFocalLoss",
    "StagesLoss",
    "StrokeSegmentationLoss",
    "SynthesisLoss",
    "WeightedCELoss",
    "discriminator_ls_loss",
    "generator_ls_loss",
    "sudre_dice_loss",
]
