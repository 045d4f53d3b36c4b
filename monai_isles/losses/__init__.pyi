from .adversarial import discriminator_ls_loss, generator_ls_loss
from .focal import SoftmaxFocalLoss
from .generalized_dice_ce import GeneralizedDiceCELoss, sudre_dice_loss
from .hardness_aware import HardnessAwareGDLoss
from .pseudo_dwi import PseudoDWILoss
from .stroke_segmentation import StrokeSegmentationLoss
from .synthesis import SynthesisLoss
from .weighted_ce import WeightedCELoss

__all__ = ["GeneralizedDiceCELoss", "HardnessAwareGDLoss", "PseudoDWILoss", "SoftmaxFocalLoss", "StrokeSegmentationLoss", "SynthesisLoss", "WeightedCELoss", "discriminator_ls_loss", "generator_ls_loss", "sudre_dice_loss"]
