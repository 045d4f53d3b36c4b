"""What MONAI's engines lack: exact resume, checkpoints that survive, curves, a guard against NaN."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
