from .deconvolution import block_circulant_svd, circulant_inverse, oscillation_index, oscillation_svd, tikhonov
from .maps import PerfusionMaps, bolus_arrival, perfusion_maps
from .masks import intracranial_mask, smooth_in_plane, tissue_mask
from .measured import MAP_UNITS, METHODS, measured_maps, perfusion_record
from .motion import Motion, head_motion, moved_back
from .prepared import PreparedSeries, prepare_series
from .quality import Flag
from .thresholds import (
    Ischaemia,
    contralateral_side,
    defuse3_profile,
    ischaemia,
    rcbf_core,
    relative_cbf,
    upright_hemispheres,
)
from .trained import TRAINING_MAPS, maps_as_trained, require_settings
from .vessels import Vessels, arterial_curve, find_vessels, venous_curve

__all__ = [
    "Flag",
    "Ischaemia",
    "MAP_UNITS",
    "METHODS",
    "Motion",
    "PerfusionMaps",
    "PreparedSeries",
    "TRAINING_MAPS",
    "Vessels",
    "arterial_curve",
    "block_circulant_svd",
    "bolus_arrival",
    "circulant_inverse",
    "contralateral_side",
    "defuse3_profile",
    "find_vessels",
    "head_motion",
    "intracranial_mask",
    "ischaemia",
    "maps_as_trained",
    "measured_maps",
    "moved_back",
    "oscillation_index",
    "oscillation_svd",
    "perfusion_maps",
    "perfusion_record",
    "prepare_series",
    "rcbf_core",
    "relative_cbf",
    "require_settings",
    "smooth_in_plane",
    "tikhonov",
    "tissue_mask",
    "upright_hemispheres",
    "venous_curve",
]
