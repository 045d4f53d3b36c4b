"""A data folder in, cases and patient-grouped data lists out; every fault of a data set in one list."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
