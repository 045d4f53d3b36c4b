from .deconvolution import block_circulant_svd, circulant_inverse, oscillation_index, oscillation_svd, tikhonov
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
    "block_circulant_svd",
    "bolus_arrival",
    "circulant_inverse",
    "contralateral_side",
    "dawn_profile",
    "defuse3_profile",
    "find_vessels",
    "head_motion",
    "intracranial_mask",
    "ischaemia",
    "measured_maps",
    "correct_motion",
    "oscillation_index",
    "oscillation_svd",
    "perfusion_maps",
    "prepare_series",
    "rcbf_core",
    "relative_cbf",
    "smooth_in_plane",
    "tikhonov",
    "tissue_mask",
    "upright_hemispheres",
]
