from .cpu.folded_res_unet import FoldedResUNet
from .ischaemia import case_ischaemia, perfusion_block
from .labelling import LabelMaskd, LoadStudyd
from .outputs import LesionMapsd, PublishMapsd, entropy_bits, lesion_confidence, publish_entropy
from .predictor import CaseInferer, Predictor, chosen_step, ensemble_infer, load_predictor
from .whole_slices import WholeSliceInferer
from .windows import StepSlidingWindowInferer, WindowResult, prediction_dropout
from .windows_plan import count_windows, window_starts

__all__ = [
    "CaseInferer",
    "FoldedResUNet",
    "LabelMaskd",
    "LesionMapsd",
    "LoadStudyd",
    "Predictor",
    "PublishMapsd",
    "StepSlidingWindowInferer",
    "WholeSliceInferer",
    "WindowResult",
    "case_ischaemia",
    "chosen_step",
    "count_windows",
    "ensemble_infer",
    "entropy_bits",
    "lesion_confidence",
    "load_predictor",
    "perfusion_block",
    "prediction_dropout",
    "publish_entropy",
    "window_starts",
]
