"""Reproduce publications: rows, published numbers, tables, figures and studies of the four papers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
