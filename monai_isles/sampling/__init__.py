"""Where and how patches are cut."""

from monai_isles.sampling.centres import Centres, balanced_centres
from monai_isles.sampling.elastic import deform, displacement
from monai_isles.sampling.patches import PatchLoader
from monai_isles.sampling.slices import SliceLoader

__all__ = ["Centres", "PatchLoader", "SliceLoader", "balanced_centres", "deform", "displacement"]
