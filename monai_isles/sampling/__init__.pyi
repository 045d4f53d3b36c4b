from .cases import CachedCases
from .patches import PatchLoader, balanced_centres
from .slices import SliceLoader

__all__ = [
    "CachedCases",
    "PatchLoader",
    "SliceLoader",
    "balanced_centres",
]
