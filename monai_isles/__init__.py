"""Ischemic stroke lesion segmentation with MONAI: four published systems as bundles. Research only."""

__version__ = "0.1.0"
