"""Windows, Monte Carlo passes, ensembles and the prediction of many cases."""

from monai_isles.inference.confidence import entropy_bits, lesion_confidence, publish_entropy, volume_interval
from monai_isles.inference.dropout import prediction_dropout
from monai_isles.inference.ensemble import ensemble_infer
from monai_isles.inference.outputs import LesionMapsd, PublishMapsd
from monai_isles.inference.predict import predict_cases
from monai_isles.inference.predictor import Predictor, load_predictor
from monai_isles.inference.windows import StepSlidingWindowInferer, WindowResult, window_starts

__all__ = [
    "LesionMapsd",
    "Predictor",
    "PublishMapsd",
    "StepSlidingWindowInferer",
    "WindowResult",
    "ensemble_infer",
    "entropy_bits",
    "lesion_confidence",
    "load_predictor",
    "predict_cases",
    "prediction_dropout",
    "publish_entropy",
    "volume_interval",
    "window_starts",
]
