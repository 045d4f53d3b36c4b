from .bundle import Bundle

__all__ = [
    "Bundle",
]
