"""The two sides of a head, and which of them is the healthy one: names of the rooms below."""

from __future__ import annotations

from monai_isles.perfusion.sides import HYPOPERFUSED_S, contralateral, upright_hemispheres
from monai_isles.transforms.hemispheres import hemispheres, split_head

__all__ = ["HYPOPERFUSED_S", "contralateral", "hemispheres", "split_head", "upright_hemispheres"]
