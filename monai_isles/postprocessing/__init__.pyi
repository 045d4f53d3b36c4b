from .chain import Binarised
from .components import binarise, drop_small, search_grid

__all__ = ["Binarised", "binarise", "drop_small", "search_grid"]
