"""Export bundles in the specification's layout with graphs, nnU-Net data sets, and challenge submissions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
