"""Hide one channel of an image and ask for it: pre-training without labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import IslesError


class HideChanneld(MapTransform):
    """Set one channel of the image to zero and give what was there, z-scored where it is not zero, as ``target``.

    Shapes: image ``(C, H, W, D)`` in and out; target ``(1, H, W, D)``, zero where the channel is zero.
    Args:
        keys: the image.
        names: name of every channel, in order.
        hide: name of the channel to hide.
        target: entry to write.
    Raises:
        IslesError: ``E-AUG-20`` when there is no such channel.
    Source: ours; ``tests/transforms/test_channels.py``.
    """

    def __init__(self, keys: str, *, names: Sequence[str], hide: str, target: str = "label") -> None:
        super().__init__(keys)
        if hide not in names:
            raise IslesError(
                "E-AUG-20",
                "no such channel to hide",
                where="HideChanneld",
                found=f"{hide!r}; channels {', '.join(names)}",
                fix="name one of these",
            )
        self.channel, self.target = list(names).index(hide), target

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = torch.as_tensor(out[key]).as_subclass(Tensor).clone()
            hidden = image[self.channel : self.channel + 1].clone()
            image[self.channel] = 0
            inside = hidden[hidden != 0]
            spread = inside.std(correction=0).clamp_min(1e-6) if len(inside) else torch.ones(())
            scored = torch.where(hidden != 0, (hidden - inside.mean()) / spread, torch.zeros_like(hidden))
            out[self.target] = convert_to_dst_type(scored, out[key])[0]
            out[key] = convert_to_dst_type(image, out[key])[0]
        return out
