"""The undoing of a border: what a pad added is cut off again, and the affine follows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from monai.config import KeysCollection
from monai.transforms import MapTransform, SpatialCrop
from torch import Tensor

from monai_isles.errors import IslesError


class CropBorderd(MapTransform):
    """Cut the same border off both ends of each spatial axis: the inverse of ``monai.transforms.BorderPadd``.

    Shapes: ``(C, H, W, D)`` in, ``(C, H - 2 h, W - 2 w, D - 2 d)`` out; the affine moves along.

    Args:
        keys: entries to crop. border_vox: h, w, d, one number an axis.

    Raises:
        IslesError: ``E-PAD-01`` when the image is not larger than its border.

    Source: ours; ``tests/transforms/test_padding.py``.
    """

    def __init__(
        self, keys: KeysCollection, border_vox: Sequence[int] = (32, 32, 0), allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.border_vox = tuple(int(n) for n in border_vox)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            size = tuple(out[key].shape[1:])
            if len(size) != len(self.border_vox) or any(n <= 2 * b for n, b in zip(size, self.border_vox, strict=True)):
                raise IslesError(
                    "E-PAD-01",
                    "the image is not larger than the border to cut off",
                    where=str(key),
                    found=f"size {size}, border {self.border_vox} on either side",
                    fix="give CropBorderd the border that was padded",
                )
            ends = [n - b for n, b in zip(size, self.border_vox, strict=True)]
            out[key] = SpatialCrop(roi_start=self.border_vox, roi_end=ends)(out[key])
        return out
