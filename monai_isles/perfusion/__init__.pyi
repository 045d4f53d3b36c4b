from .deconvolution import deconvolve, oscillation_index
from .maps import PerfusionMaps, measured_maps, perfusion_maps
from .masks import intracranial_mask, smooth_in_plane, tissue_mask
from .motion import correct_motion
from .prepared import bolus_arrival
from .thresholds import contralateral_side, ischaemia, relative_cbf
from .vessels import arterial_curve, find_vessels

__all__ = [
    "PerfusionMaps",
    "arterial_curve",
    "bolus_arrival",
    "contralateral_side",
    "correct_motion",
    "deconvolve",
    "find_vessels",
    "intracranial_mask",
    "ischaemia",
    "measured_maps",
    "oscillation_index",
    "perfusion_maps",
    "relative_cbf",
    "smooth_in_plane",
    "tissue_mask",
]
