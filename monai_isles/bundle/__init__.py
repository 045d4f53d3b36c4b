"""A bundle as a thing: find it, read its configs, judge them, apply overlays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
