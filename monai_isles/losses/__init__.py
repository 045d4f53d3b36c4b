"""Losses of the published systems."""

from monai_isles.losses.generalized_dice_ce import GeneralizedDiceCELoss, sudre_dice_loss

__all__ = ["GeneralizedDiceCELoss", "sudre_dice_loss"]
