from .ischaemia import case_ischaemia
from .labelling import LabelForegroundd, LabelMaskd, LoadStudyd
from .outputs import LesionMapsd, PublishMapsd, entropy_bits, lesion_confidence
from .predictor import Predictor, load_predictor
from .whole_slices import WholeSliceInferer
from .windows import StepSlidingWindowInferer, prediction_dropout
from .windows_plan import count_windows, window_starts

__all__ = [
    "LabelForegroundd",
    "LabelMaskd",
    "LesionMapsd",
    "LoadStudyd",
    "Predictor",
    "PublishMapsd",
    "StepSlidingWindowInferer",
    "WholeSliceInferer",
    "case_ischaemia",
    "count_windows",
    "entropy_bits",
    "lesion_confidence",
    "load_predictor",
    "prediction_dropout",
    "window_starts",
]
