"""Metrics of lesion masks, each with a unit and a written rule for empty masks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
