"""Predict cases: sliding windows, Monte Carlo passes, ensembles, whole slices, outputs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
