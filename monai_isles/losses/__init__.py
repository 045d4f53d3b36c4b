"""Losses of the published systems."""

from monai_isles.losses.adversarial import discriminator_ls_loss, generator_ls_loss
from monai_isles.losses.focal import SoftmaxFocalLoss
from monai_isles.losses.generalized_dice_ce import GeneralizedDiceCELoss, sudre_dice_loss
from monai_isles.losses.hardness_aware import HardnessAwareGDLoss
from monai_isles.losses.pseudo_dwi import PseudoDWILoss
from monai_isles.losses.stroke_segmentation import StrokeSegmentationLoss
from monai_isles.losses.synthesis import SynthesisLoss
from monai_isles.losses.weighted_ce import WeightedCELoss

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
