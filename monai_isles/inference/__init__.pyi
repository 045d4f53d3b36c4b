from .labelling import LabelForegroundd, LabelMaskd, LoadStudyd
from .outputs import LesionMapsd, PublishMapsd
from .predictor import Predictor, load_predictor
from .whole_slices import WholeSliceInferer
from .windows import StepSlidingWindowInferer

__all__ = [
    "LabelForegroundd",
    "LabelMaskd",
    "LesionMapsd",
    "LoadStudyd",
    "Predictor",
    "PublishMapsd",
    "StepSlidingWindowInferer",
    "WholeSliceInferer",
    "load_predictor",
]
