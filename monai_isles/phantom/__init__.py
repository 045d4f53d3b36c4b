"""The embedded data set: CT perfusion and MRI phantoms with known truth, in the ISLES 2018 and 2015 layouts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
