"""Windows, Monte Carlo passes, ensembles and the prediction of many cases."""

from monai_isles.inference.confidence import entropy_bits, lesion_confidence, publish_entropy, volume_interval
from monai_isles.inference.dropout import prediction_dropout
from monai_isles.inference.ensemble import CaseInferer, ensemble_infer
from monai_isles.inference.outputs import LesionMapsd, PublishMapsd
from monai_isles.inference.perfusion_block import case_ischaemia, perfusion_block
from monai_isles.inference.predict import predict_cases
from monai_isles.inference.predictor import Predictor, load_predictor, read_inference
from monai_isles.inference.rehearse import rehearse_cases
from monai_isles.inference.step import chosen_step
from monai_isles.inference.whole_slices import WholeSliceInferer
from monai_isles.inference.windows import StepSlidingWindowInferer, WindowResult
from monai_isles.inference.windows_plan import count_windows, window_starts

__all__ = [
    "CaseInferer",
    "LesionMapsd",
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
    "predict_cases",
    "prediction_dropout",
    "publish_entropy",
    "read_inference",
    "rehearse_cases",
    "volume_interval",
    "window_starts",
]
