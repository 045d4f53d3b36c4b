from .components import Binarised, binarise, drop_small

__all__ = [
    "Binarised",
    "binarise",
    "drop_small",
]
