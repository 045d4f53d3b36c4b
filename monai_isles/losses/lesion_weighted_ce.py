"""Cross-entropy under a map of voxel weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def lesion_weighted_ce(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the cross-entropy averaged with the weights of each image, then over images; plain when None.

    Shapes: logits ``(N, K, *spatial)``, label and weight ``(N, 1, *spatial)``; a scalar out.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (12); ``tests/losses/test_stroke_segmentation.py``.
    """
    cost = F.cross_entropy(logits.float(), label[:, 0].long(), reduction="none").flatten(1)
    if weight is None:
        return cost.mean()
    share = weight[:, 0].to(cost.dtype).flatten(1)
    return ((share * cost).sum(1) / share.sum(1).clamp_min(torch.finfo(cost.dtype).tiny)).mean()
