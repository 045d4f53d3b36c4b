from .augment import RandomOrderAffined
from .brain_score import BrainScored
from .case_cache import KeptPreparation
from .channels import HideChanneld
from .grid import SameGridd
from .hemispheres import hemispheres, split_head
from .intensity import ScaleDWId, scaled_dwi
from .mirror import Mirror, mirrored, reflection
from .mirror_volume import VolumeMirror, mirrored_volume, volume_reflection
from .padding import CropBorderd
from .perfusion_series import PerfusionWindowd, Window, perfusion_window
from .registration import Registration, register_mirror
from .registration_volume import register_volume_mirror
from .relative_flow import RelativeFlowd
from .resample_like import ResampleLiked
from .skullstrip import SkullStripd, brain_mask
from .symmetry import SymmetricModalitiesd
from .temporal_mip import TemporalMIPd
from .weight_maps import LesionWeightd, lesion_weight

__all__ = ["BrainScored", "CropBorderd", "HideChanneld", "KeptPreparation", "LesionWeightd", "Mirror", "PerfusionWindowd", "RandomOrderAffined", "Registration", "RelativeFlowd", "ResampleLiked", "SameGridd", "ScaleDWId", "SkullStripd", "SymmetricModalitiesd", "TemporalMIPd", "VolumeMirror", "Window", "brain_mask", "hemispheres", "lesion_weight", "mirrored", "mirrored_volume", "perfusion_window", "reflection", "register_mirror", "register_volume_mirror", "scaled_dwi", "split_head", "volume_reflection"]
