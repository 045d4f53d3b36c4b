from .cases import CachedCases
from .elastic import deform, displacement
from .patches import Centres, PatchLoader, balanced_centres
from .slices import SliceLoader

__all__ = ["CachedCases", "Centres", "PatchLoader", "SliceLoader", "balanced_centres", "deform", "displacement"]
