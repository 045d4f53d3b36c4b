"""MONAI dictionary transforms: skull stripping, symmetric modalities, grids, borders, augmentation."""

from monai_isles.transforms.augment import RandomOrderAffined
from monai_isles.transforms.brain_score import BrainScored
from monai_isles.transforms.dwi_scale import ScaleDWId, scaled_dwi
from monai_isles.transforms.grid import SameGridd
from monai_isles.transforms.hemispheres import hemispheres, split_head
from monai_isles.transforms.hide_channel import HideChanneld
from monai_isles.transforms.kept_cases import KeptPreparation
from monai_isles.transforms.lesion_weight import LesionWeightd, lesion_weight
from monai_isles.transforms.mirror import Mirror, mirrored, reflection
from monai_isles.transforms.mirror_volume import VolumeMirror, mirrored_volume, volume_reflection
from monai_isles.transforms.padding import CropBorderd
from monai_isles.transforms.perfusion_window import PerfusionWindowd, Window, perfusion_window
from monai_isles.transforms.registration import Registration, register_mirror
from monai_isles.transforms.registration_volume import register_volume_mirror
from monai_isles.transforms.relative_flow import RelativeFlowd
from monai_isles.transforms.resample_like import ResampleLiked
from monai_isles.transforms.skullstrip import SkullStripd, brain_mask
from monai_isles.transforms.symmetry import SymmetricModalitiesd
from monai_isles.transforms.temporal_mip import TemporalMIPd

__all__ = [
    "BrainScored",
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
    "VolumeMirror",
    "brain_mask",
    "hemispheres",
    "lesion_weight",
    "mirrored",
    "mirrored_volume",
    "perfusion_window",
    "reflection",
    "register_mirror",
    "register_volume_mirror",
    "split_head",
    "volume_reflection",
    "scaled_dwi",
]
