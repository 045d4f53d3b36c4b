"""Perfusion maps from a contrast series: movement, vessels, deconvolution, maps, the healthy side."""

from monai_isles.perfusion.aif import arterial_curve, venous_curve
from monai_isles.perfusion.deconvolution import block_circulant_svd, circulant_inverse
from monai_isles.perfusion.maps import PerfusionMaps, bolus_arrival, perfusion_maps
from monai_isles.perfusion.masks import intracranial_mask, tissue_mask
from monai_isles.perfusion.measured import METHODS, measured_maps
from monai_isles.perfusion.motion import Motion, head_motion, moved_back
from monai_isles.perfusion.oscillation import oscillation_index, oscillation_svd
from monai_isles.perfusion.prepared import PreparedSeries, prepare_series
from monai_isles.perfusion.quality import Flag
from monai_isles.perfusion.record import MAP_UNITS, perfusion_record
from monai_isles.perfusion.sides import contralateral, relative_cbf, upright_hemispheres
from monai_isles.perfusion.smoothing import smooth_in_plane
from monai_isles.perfusion.thresholds import Ischaemia, defuse3_profile, ischaemia, rcbf_core
from monai_isles.perfusion.tikhonov import tikhonov
from monai_isles.perfusion.trained import TRAINING_MAPS, maps_as_trained, require_settings
from monai_isles.perfusion.vessels import Vessels, find_vessels

__all__ = [
    "MAP_UNITS", "METHODS", "TRAINING_MAPS", "Flag", "Ischaemia", "Motion", "PerfusionMaps", "PreparedSeries",
    "Vessels", "arterial_curve", "block_circulant_svd", "bolus_arrival", "circulant_inverse", "contralateral",
    "defuse3_profile", "find_vessels", "head_motion", "intracranial_mask", "ischaemia", "maps_as_trained",
    "measured_maps", "moved_back", "oscillation_index", "oscillation_svd", "perfusion_maps", "perfusion_record",
    "prepare_series", "rcbf_core", "relative_cbf", "require_settings", "smooth_in_plane", "tikhonov", "tissue_mask",
    "upright_hemispheres", "venous_curve",
]  # fmt: skip
