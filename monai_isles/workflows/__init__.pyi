from .api import Result, Segmentation

__all__ = ["Result", "Segmentation"]
