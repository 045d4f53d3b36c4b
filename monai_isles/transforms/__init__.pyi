from .augment import GrainNoised, RandomOrderAffined
from .case_cache import KeptPreparation
from .channels import CropBorderd, DropGroupsd, GroupedImaged, HideChanneld, LesionWeightd, lesion_weight
from .grid import ResampleLiked, SameGridd
from .intensity import (
    BrainScored,
    ChannelsScored,
    HealthyScaled,
    RelativeFlowd,
    ScaleDWId,
    SkullStripd,
    brain_mask,
    scaled_dwi,
)
from .mirror import reflection
from .perfusion_series import PerfusionWindowd, SeriesMeasuredd, TemporalMIPd, perfusion_window
from .registration import register_mirror
from .symmetry import SourceGridd, SymmetricModalitiesd, UprightHeadd

__all__ = [
    "BrainScored",
    "ChannelsScored",
    "CropBorderd",
    "DropGroupsd",
    "GroupedImaged",
    "HealthyScaled",
    "HideChanneld",
    "KeptPreparation",
    "LesionWeightd",
    "PerfusionWindowd",
    "RandomOrderAffined",
    "GrainNoised",
    "RelativeFlowd",
    "ResampleLiked",
    "SameGridd",
    "ScaleDWId",
    "SeriesMeasuredd",
    "SkullStripd",
    "SourceGridd",
    "SymmetricModalitiesd",
    "TemporalMIPd",
    "UprightHeadd",
    "brain_mask",
    "lesion_weight",
    "perfusion_window",
    "reflection",
    "register_mirror",
    "scaled_dwi",
]
