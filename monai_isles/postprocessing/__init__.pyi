from .components import Binarised, binarise, drop_small, search_grid

__all__ = ["Binarised", "binarise", "drop_small", "search_grid"]
