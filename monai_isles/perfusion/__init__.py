"""Perfusion maps from a contrast series: arterial curve, deconvolution, maps."""

from monai_isles.perfusion.aif import arterial_curve, venous_curve
from monai_isles.perfusion.deconvolution import block_circulant_svd, circulant_inverse
from monai_isles.perfusion.maps import PerfusionMaps, bolus_arrival, perfusion_maps
from monai_isles.perfusion.masks import tissue_mask
from monai_isles.perfusion.smoothing import smooth_in_plane

__all__ = [
    "PerfusionMaps",
    "arterial_curve",
    "block_circulant_svd",
    "bolus_arrival",
    "circulant_inverse",
    "perfusion_maps",
    "smooth_in_plane",
    "tissue_mask",
    "venous_curve",
]
