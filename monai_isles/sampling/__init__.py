"""Where and how patches are cut."""

from monai_isles.sampling.centres import Centres, balanced_centres
from monai_isles.sampling.elastic import deform, displacement
from monai_isles.sampling.patches import PatchLoader

__all__ = ["Centres", "PatchLoader", "balanced_centres", "deform", "displacement"]
