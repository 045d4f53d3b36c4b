from .augment import RandomOrderAffined
from .case_cache import KeptPreparation
from .channels import CropBorderd, HideChanneld, LesionWeightd, lesion_weight
from .grid import ResampleLiked, SameGridd
from .intensity import BrainScored, ChannelsScored, RelativeFlowd, ScaleDWId, SkullStripd, brain_mask, scaled_dwi
from .mirror import mirrored, reflection
from .perfusion_series import PerfusionWindowd, TemporalMIPd, perfusion_window
from .registration import register_mirror
from .symmetry import SymmetricModalitiesd

__all__ = [
    "BrainScored",
    "ChannelsScored",
    "CropBorderd",
    "HideChanneld",
    "KeptPreparation",
    "LesionWeightd",
    "PerfusionWindowd",
    "RandomOrderAffined",
    "RelativeFlowd",
    "ResampleLiked",
    "SameGridd",
    "ScaleDWId",
    "SkullStripd",
    "SymmetricModalitiesd",
    "TemporalMIPd",
    "brain_mask",
    "lesion_weight",
    "mirrored",
    "perfusion_window",
    "reflection",
    "register_mirror",
    "scaled_dwi",
]
