from .deconvolution import circulant_inverse, deconvolve, oscillation_index
from .maps import PerfusionMaps, measured_maps, perfusion_maps
from .masks import intracranial_mask, smooth_in_plane, tissue_mask
from .motion import correct_motion, head_motion
from .prepared import PreparedSeries, bolus_arrival, prepare_series
from .thresholds import (
    Ischaemia,
    contralateral_side,
    dawn_profile,
    defuse3_profile,
    ischaemia,
    rcbf_core,
    relative_cbf,
    upright_hemispheres,
)
from .vessels import arterial_curve, find_vessels

__all__ = [
    "Ischaemia",
    "PerfusionMaps",
    "PreparedSeries",
    "arterial_curve",
    "bolus_arrival",
    "circulant_inverse",
    "contralateral_side",
    "deconvolve",
    "dawn_profile",
    "defuse3_profile",
    "find_vessels",
    "head_motion",
    "intracranial_mask",
    "ischaemia",
    "measured_maps",
    "correct_motion",
    "oscillation_index",
    "perfusion_maps",
    "prepare_series",
    "rcbf_core",
    "relative_cbf",
    "smooth_in_plane",
    "tissue_mask",
    "upright_hemispheres",
]
