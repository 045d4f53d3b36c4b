from .focal import SoftmaxFocalLoss, WeightedCELoss
from .stroke_segmentation import (
    GeneralizedDiceCELoss,
    HardnessAwareGDLoss,
    StagesLoss,
    StrokeSegmentationLoss,
)
from .synthesis import PseudoDWILoss, SynthesisLoss

__all__ = [
    "GeneralizedDiceCELoss",
    "HardnessAwareGDLoss",
    "PseudoDWILoss",
    "SoftmaxFocalLoss",
    "StagesLoss",
    "StrokeSegmentationLoss",
    "SynthesisLoss",
    "WeightedCELoss",
]
