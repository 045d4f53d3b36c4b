"""Training handlers that MONAI lacks: exact resume, safe checkpoints, curves, a guard against NaN, schedules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
