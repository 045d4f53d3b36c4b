"""MONAI dictionary transforms: skull stripping, symmetric modalities, grids, borders, augmentation."""

from monai_isles.transforms.augment import RandomOrderAffined
from monai_isles.transforms.grid import SameGridd
from monai_isles.transforms.mirror import Mirror, mirrored, reflection
from monai_isles.transforms.padding import CropBorderd
from monai_isles.transforms.registration import Registration, register_mirror
from monai_isles.transforms.skullstrip import SkullStripd, brain_mask
from monai_isles.transforms.symmetry import SymmetricModalitiesd

__all__ = [
    "CropBorderd",
    "Mirror",
    "RandomOrderAffined",
    "Registration",
    "SameGridd",
    "SkullStripd",
    "SymmetricModalitiesd",
    "brain_mask",
    "mirrored",
    "reflection",
    "register_mirror",
]
