"""Cross-validation: plan and run folds, out-of-fold predictions, protocols, and the search of threshold and size."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
