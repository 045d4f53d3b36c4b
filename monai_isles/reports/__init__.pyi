from .card import model_card

__all__ = [
    "model_card",
]
