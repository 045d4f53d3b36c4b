"""Read, verify and publish files; nothing comes in unchecked and nothing appears under its name before it is whole."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
