"""Figures, tables and pages of predictions and their scores. Research only."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
