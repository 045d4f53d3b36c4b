from .predict_dry import rehearse_cases

__all__ = ["rehearse_cases"]
