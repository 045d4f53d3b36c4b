"""Find the cases of a data folder, check them, and make data lists whose folds keep subjects together."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
