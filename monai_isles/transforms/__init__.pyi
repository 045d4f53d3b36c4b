from .augment import RandomOrderAffined
from .case_cache import KeptPreparation
from .channels import CropBorderd, HideChanneld, LesionWeightd, lesion_weight
from .grid import ResampleLiked, SameGridd
from .intensity import BrainScored, ChannelsScored, RelativeFlowd, ScaleDWId, SkullStripd, brain_mask, scaled_dwi
from .mirror import Mirror, mirrored, reflection
from .perfusion_series import PerfusionWindowd, TemporalMIPd, Window, perfusion_window
from .registration import Registration, hemispheres, mirror_or_midline, register_mirror, split_head
from .symmetry import SymmetricModalitiesd

__all__ = [
    "BrainScored",
    "ChannelsScored",
    "CropBorderd",
    "HideChanneld",
    "KeptPreparation",
    "LesionWeightd",
    "Mirror",
    "PerfusionWindowd",
    "RandomOrderAffined",
    "Registration",
    "RelativeFlowd",
    "ResampleLiked",
    "SameGridd",
    "ScaleDWId",
    "SkullStripd",
    "SymmetricModalitiesd",
    "TemporalMIPd",
    "Window",
    "brain_mask",
    "hemispheres",
    "lesion_weight",
    "mirrored",
    "mirror_or_midline",
    "perfusion_window",
    "reflection",
    "register_mirror",
    "scaled_dwi",
    "split_head",
]
