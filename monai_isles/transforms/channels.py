"""Crop, hide and derive channels: borders, pre-training without labels, the weight map of a lesion."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, NormalizeIntensity, RandomizableTransform, SpatialCrop
from monai.utils import convert_to_dst_type
from scipy import ndimage
from torch import Tensor

from monai_isles.errors import refused


class CropBorderd(MapTransform):
    """Crop the same border off both ends of each spatial axis: the inverse of ``monai.transforms.BorderPadd``.

    Shapes: ``(C, H, W, D)`` in, ``(C, H - 2 h, W - 2 w, D - 2 d)`` out; the affine moves along.

    Raises: ``E-PAD-01`` when the image is not larger than its border.

    >>> CropBorderd("image", (2, 2, 0))({"image": torch.zeros(1, 8, 8, 3)})["image"].shape
    torch.Size([1, 4, 4, 3])
    """

    def __init__(self, keys: KeysCollection, border_vox: Sequence[int] = (32, 32, 0)) -> None:
        super().__init__(keys)
        self.border_vox = tuple(int(n) for n in border_vox)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            size = tuple(out[key].shape[1:])
            if len(size) != len(self.border_vox) or any(n <= 2 * b for n, b in zip(size, self.border_vox, strict=True)):
                raise refused("E-PAD-01", where=str(key), found=f"size {size}, border {self.border_vox} on either side")
            ends = [n - b for n, b in zip(size, self.border_vox, strict=True)]
            out[key] = SpatialCrop(roi_start=self.border_vox, roi_end=ends)(out[key])
        return out


class HideChanneld(MapTransform):
    """Set one channel of the image to zero and write its values, z-scored where they are not zero, to ``target``.

    Shapes: image ``(C, H, W, D)`` in and out; target ``(1, H, W, D)``, zero where the channel is zero.
    Raises: ``E-AUG-20`` when there is no such channel.

    >>> hide = HideChanneld("image", names=["ct", "cbf"], hide="cbf")
    >>> case = hide({"image": torch.arange(8.0).reshape(2, 4, 1, 1)})
    >>> float(case["image"][1].abs().sum()), case["label"].shape
    (0.0, torch.Size([1, 4, 1, 1]))
    """

    def __init__(self, keys: str, *, names: Sequence[str], hide: str, target: str = "label") -> None:
        super().__init__(keys)
        if hide not in names:
            raise refused("E-AUG-20", where="HideChanneld", found=f"{hide!r}; channels {', '.join(names)}")
        self.channel, self.target = list(names).index(hide), target

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = torch.as_tensor(out[key]).as_subclass(Tensor).clone()
            hidden = image[self.channel : self.channel + 1].clone()
            image[self.channel] = 0
            scored = torch.as_tensor(NormalizeIntensity(nonzero=True)(hidden)).as_subclass(Tensor)
            out[self.target] = convert_to_dst_type(scored, out[key])[0]
            out[key] = convert_to_dst_type(image, out[key])[0]
        return out


class GroupedImaged(MapTransform):
    """Stack the channels of all groups to ``image``, zero if one is absent, and a mark for each: 1 if present.

    Shapes: entries ``(n, H, W, D)``; ``image`` ``(sum of n + groups, H, W, D)`` float32, the last ones 0 or 1.
    Args:
        groups: number of channels by entry, by group, in order; a group without entries has only its mark.
            A group is present if its entries are, unless the entry ``groups`` says ``absent`` of it; the group
            ``mirror`` is there where the record under ``mirror`` bears no remark.

    >>> stack = GroupedImaged({"maps": {"cbf": 1}, "series": {}})
    >>> case = stack({"cbf": torch.full((1, 1, 1, 1), 40.0), "groups": {"maps": "given"}})
    >>> case["image"].flatten().tolist()  # the map, maps are there, a series is not
    [40.0, 1.0, 0.0]
    """

    def __init__(self, groups: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__([key for entries in groups.values() for key in entries], allow_missing_keys=True)
        self.groups = groups

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        first = next(out[key] for key in self.key_iterator(out))
        counts = {key: n for entries in self.groups.values() for key, n in entries.items()}
        stacked = [
            torch.as_tensor(out[key]).float() if key in out else torch.zeros(n, *first.shape[1:])
            for key, n in counts.items()
        ]
        known = dict(out["groups"])
        if "mirror" in self.groups:
            known["mirror"] = "absent" if out["mirror"]["remark"] else out["mirror"]["method"]
        available = [
            float(known.get(group, "absent") != "absent" and all(key in out for key in entries))
            for group, entries in self.groups.items()
        ]
        marks = torch.tensor(available).reshape(-1, 1, 1, 1).expand(-1, *first.shape[1:])
        plain = torch.cat([item.as_subclass(Tensor) for item in (*stacked, marks)])
        return out | {"image": convert_to_dst_type(plain, first)[0], "groups": known}


class DropGroupsd(RandomizableTransform, MapTransform):
    """Mark groups of channels as absent at random, as ``GroupedImaged`` marks them, in every slice of a stack alike.

    Of maps and series, the views of the network, one stays: if both would go, the first that is there.

    Shapes: ``(slices * channels, H, W)`` in and out; only the marks change, the network does the rest.
    Args:
        chances: of being dropped, by group, in the order of the marks.

    >>> drop = DropGroupsd("image", chances={"maps": 1.0, "mirror": 1.0}, slices=1)
    >>> drop({"image": torch.tensor([40.0, 1.0, 1.0]).reshape(3, 1, 1)})["image"].flatten().tolist()
    [40.0, 1.0, 0.0]
    """

    def __init__(self, keys: KeysCollection, *, chances: Mapping[str, float], slices: int = 3) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.chances, self.slices = dict(chances), slices

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        drawn = self.R.uniform(size=len(self.chances)) < np.array([*self.chances.values()])
        for key in self.key_iterator(out):
            image = torch.as_tensor(out[key]).as_subclass(Tensor).clone()
            marks = image.reshape(self.slices, -1, *image.shape[1:])[:, -len(drawn) :]
            there = marks[self.slices // 2].amax(dim=(1, 2)) > 0
            views = [n for n, name in enumerate(self.chances) if name in ("maps", "series") and there[n]]
            spared = views[:1] if all(drawn[views]) else []
            marks[:, [n for n in np.flatnonzero(drawn) if n not in spared]] = 0
            out[key] = image
        return out


def lesion_weight(lesion: np.ndarray, *, inside: float = 1.5, decay_vox: float = 50.0) -> np.ndarray:
    """Return ``inside`` in the lesion and ``0.5 + e / (e + 1)``, ``e = exp(-distance / decay)``, elsewhere.

    The distance is exact, Euclidean and in plane, slice by slice, in voxels (the paper gives no unit). Beside the
    lesion the weight is just below 1; it falls to 0.5 far away. A slice without lesion has weight 0.5 everywhere.

    Shapes: (H, W) or (H, W, D), binary; the same shape, float32, out.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (9), w = 1.5, D = 50.

    >>> lesion = np.zeros((5, 5), bool)
    >>> lesion[2, 2] = True
    >>> float(lesion_weight(lesion)[2, 2])
    1.5
    """
    mask = np.asarray(lesion) > 0
    slices = mask[..., None] if mask.ndim == 2 else mask
    weight = np.full(slices.shape, 0.5, dtype=np.float32)
    for level in np.flatnonzero(slices.any(axis=(0, 1))):
        near = np.exp(-ndimage.distance_transform_edt(~slices[..., level]) / decay_vox)
        weight[..., level] = np.where(slices[..., level], inside, 0.5 + near / (near + 1))
    return weight.reshape(mask.shape)


class LesionWeightd(MapTransform):
    """Compute the weight map A of a lesion mask; only once per case if the dataset or the loader caches.

    Shapes: ``(1, H, W, D)`` or ``(1, H, W)`` in and out, float32; affine unchanged.
    Units: ``decay_vox`` in voxels in plane.
    Raises: ``E-TPW-06`` for a weight below 1 or a decay that is not positive.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (9); ``tests/transforms/test_weight_maps.py``.

    >>> case = LesionWeightd()({"label": torch.tensor([1.0, 0.0]).reshape(1, 2, 1)})
    >>> [round(float(v), 3) for v in case["weight"].flatten()]  # the lesion, and a voxel beside it
    [1.5, 0.995]
    """

    def __init__(
        self,
        key: str = "label",
        *,
        name: str = "weight",
        inside: float = 1.5,
        decay_vox: float = 50.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(key, allow_missing_keys)
        self.name, self.inside, self.decay_vox = name, inside, decay_vox
        if not inside >= 1 or not decay_vox > 0:
            raise refused("E-TPW-06", where="LesionWeightd", found=f"inside {inside}, decay_vox {decay_vox}")

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            mask = np.asarray(out[key])[0]
            weight = torch.from_numpy(lesion_weight(mask, inside=self.inside, decay_vox=self.decay_vox))[None]
            out[self.name] = convert_to_dst_type(weight, out[key], dtype=torch.float32)[0]
        return out
