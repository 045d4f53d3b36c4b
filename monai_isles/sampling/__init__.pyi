from .cases import CachedCases
from .centres import Centres, balanced_centres
from .elastic import deform, displacement
from .patches import PatchLoader
from .slices import SliceLoader

__all__ = ["CachedCases", "Centres", "PatchLoader", "SliceLoader", "balanced_centres", "deform", "displacement"]
