"""Read DICOM (find, order, time and read a series), and write segmentations, maps and reports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
