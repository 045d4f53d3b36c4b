from .read import find_series, read_series

__all__ = [
    "find_series",
    "read_series",
]
