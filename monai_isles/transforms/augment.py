"""Augment in the axial plane: random moves in random order, composed into one interpolation; noise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type, ensure_tuple_rep
from torch import Tensor

from monai_isles.errors import refused

MOVES = ("rotate", "translate", "scale", "flip")


class RandomOrderAffined(RandomizableTransform, MapTransform):
    """Rotate, shift, scale and flip in plane by uniform random amounts, in a random order.

    All keys and all slices of a volume move together. Every move is about the centre of the image.
    Shapes: ``(C, H, W)`` or ``(C, H, W, D)`` in and out. A tracked affine follows the voxels (3D only).
    Units: degrees; fractions of the image's side; in-plane pixels are taken as square.

    Args:
        rotate_deg: angles between minus and plus this.
        translate_frac: shifts along H and W between minus and plus this share of the side.
        scale: smallest and largest magnification.
        flip_prob: probability of a flip, drawn separately for H (sagittal) and W (coronal).
        mode: ``"bilinear"`` or ``"nearest"``, one for all keys or one each; ``"nearest"`` for labels.
        outside: fill value: ``"zeros"``, or ``"background"``, each channel's first voxel, which is not 0 after a
            z-score.

    Raises: ``E-AUG-01`` a range or mode that is not valid, ``E-AUG-02`` images of different size in plane.

    Source: Abulnaga & Rubin 2018, doi:10.1007/978-3-030-11723-8_36; ``tests/transforms/test_augment.py``.

    >>> move = RandomOrderAffined(["image", "label"])
    >>> move({"image": torch.ones(2, 8, 8), "label": torch.ones(1, 8, 8)})["image"].shape
    torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        rotate_deg: float = 10.0,
        translate_frac: float = 0.1,
        scale: Sequence[float] = (0.9, 1.1),
        flip_prob: float = 0.5,
        prob: float = 1.0,
        mode: str | Sequence[str] = "bilinear",
        outside: str = "zeros",
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.rotate_deg, self.translate_frac, self.scale = float(rotate_deg), float(translate_frac), tuple(scale)
        self.flip_prob, self.mode = float(flip_prob), ensure_tuple_rep(mode, len(self.keys))
        self.outside = outside
        _require_settings(self, prob)
        self.order: tuple[str, ...] = MOVES
        self.drawn: dict[str, np.ndarray] = {}

    def randomize(self, data: object = None) -> None:
        """Draw the order and the amounts and store them in ``order`` and ``drawn``."""
        super().randomize(None)
        self.order = tuple(MOVES[i] for i in self.R.permutation(len(MOVES)))
        self.drawn = {
            "rotate": self.R.uniform(-self.rotate_deg, self.rotate_deg, 1),
            "translate": self.R.uniform(-self.translate_frac, self.translate_frac, 2),
            "scale": self.R.uniform(self.scale[0], self.scale[1], 1),
            "flip": self.R.uniform(size=2) < self.flip_prob,
        }

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        self.randomize()
        if not self._do_transform:
            return out
        size: tuple[int, ...] | None = None
        for key, mode in self.key_iterator(out, self.mode):
            image = out[key]
            size = size or tuple(image.shape[1:3])
            if tuple(image.shape[1:3]) != size:
                raise refused("E-AUG-02", where=str(key), found=f"{tuple(image.shape[1:3])} against {size}")
            out[key] = move_image(image, self.matrix(size), mode=mode, outside=self.outside)
        return out

    def matrix(self, size: tuple[int, ...]) -> np.ndarray:
        """Return the moves drawn last as one matrix ``(3, 3)``: pixel offsets from the middle, before to after."""
        angle = np.radians(self.drawn["rotate"][0])
        shift = np.eye(3)
        shift[:2, 2] = self.drawn["translate"] * size
        turn = np.eye(3)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        moves = {
            "rotate": turn,
            "translate": shift,
            "scale": np.diag([*self.drawn["scale"].repeat(2), 1.0]),
            "flip": np.diag([*np.where(self.drawn["flip"], -1.0, 1.0), 1.0]),
        }
        joined = np.eye(3)
        for name in self.order:
            joined = moves[name] @ joined  # one matrix, so that the image is interpolated once
        return joined


class GrainNoised(RandomizableTransform, MapTransform):
    """Vary the first channels of every slice of a stack inside the brain: gain, offset, noise of random grain.

    Map software differs in scale, so every item gets a gain and an offset for each channel. The grain of the noise is
    1 to 4 pixels: maps that software smoothed have coarse noise.
    Shapes: ``(slices * C, H, W)`` in and out; voxels that are 0 stay 0.
    Args:
        noise: largest standard deviation, relative to that of each channel inside the brain; drawn uniformly.
        channels: number of those of each slice that change.
        prob: of an item to get noise.
        gain, offset: largest change of the logarithm of a channel, and largest addition; drawn uniformly.
    Raises: ``E-AUG-01`` for a range below 0 or a chance outside 0..1.
    Source: ours; ``tests/transforms/test_augment.py``.

    >>> noisy = GrainNoised("image", noise=1.5, channels=1)({"image": torch.ones(3, 8, 8)})
    >>> noisy["image"][1:].unique()
    tensor([1.])
    """

    def __init__(
        self, keys: KeysCollection, *, noise: float, channels: int, slices: int = 1, prob: float = 0.5,
        gain: float = 0.0, offset: float = 0.0,
    ) -> None:  # fmt: skip
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.noise, self.channels, self.slices = float(noise), int(channels), int(slices)
        self.gain, self.offset = float(gain), float(offset)
        if not (min(self.noise, self.gain, self.offset) >= 0 and 0 <= prob <= 1):
            found = f"noise={noise}, gain={gain}, offset={offset}, prob={prob}"
            raise refused("E-AUG-01", where="GrainNoised", found=found)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        self.randomize(None)
        for key in self.key_iterator(out) if self._do_transform or self.gain or self.offset else ():
            image = torch.as_tensor(out[key]).as_subclass(Tensor).clone()
            part = image.reshape(self.slices, -1, *image.shape[1:])[:, : self.channels]
            rng = np.random.default_rng(self.R.randint(2**31))
            brain = part != 0
            if self._do_transform:
                count = brain.sum((0, 2, 3), keepdim=True).clamp_min(1)
                mean = part.sum((0, 2, 3), keepdim=True) / count
                spread = (((part - mean) * brain) ** 2).sum((0, 2, 3), keepdim=True).div(count).sqrt()
                part += rng.uniform(0, self.noise) * spread * brain * noise_field(part.shape, rng)
            gain, offset = rng.uniform(-1, 1, (2, part.shape[1], 1, 1)).astype(np.float32)
            part *= torch.from_numpy(np.exp(self.gain * gain))
            part += torch.from_numpy(self.offset * offset) * brain
            out[key] = convert_to_dst_type(image, out[key])[0]
        return out


def noise_field(shape: Sequence[int], rng: np.random.Generator) -> Tensor:
    """Draw noise of unit variance, its grain in plane 1 to 4 voxels, one for the whole batch.

    Shapes: ``shape`` is ``(N, C, *spatial)``, two or three axes; the same out.
    """
    spatial, grain = tuple(shape[2:]), int(rng.integers(1, 5))
    coarse = [max(2, -(-size // grain)) if axis < 2 else size for axis, size in enumerate(spatial)]
    drawn = torch.from_numpy(rng.standard_normal((*shape[:2], *coarse), np.float32))
    mode = "bilinear" if len(spatial) == 2 else "trilinear"
    field = torch.nn.functional.interpolate(drawn, size=spatial, mode=mode)
    return field / field.std()


def move_image(image: Tensor, matrix: np.ndarray, *, mode: str, outside: str = "zeros") -> Tensor:
    """Return the image after an in-plane move, interpolated once; ``outside`` is zeros or the first voxel's value.

    Shapes: ``(C, H, W)`` or ``(C, H, W, D)``; ``matrix (3, 3)`` in pixels from the middle, before to after.
    """
    plain = torch.as_tensor(image).as_subclass(Tensor)
    height, width = plain.shape[1:3]
    stack = plain.reshape(plain.shape[0], height, width, -1).movedim(3, 1).reshape(1, -1, height, width)
    half = np.diag([(height - 1) / 2, (width - 1) / 2, 1.0])
    unit = np.linalg.inv(half) @ np.linalg.inv(matrix) @ half  # from each pixel of the result to its source
    unit = unit[:2][::-1, [1, 0, 2]].copy()  # torch counts the last axis first
    grid = torch.nn.functional.affine_grid(torch.from_numpy(unit)[None], [1, 1, height, width], align_corners=True)
    # Subtract the background, since grid_sample pads with zeros.
    fill = stack[:, :, :1, :1].float() * (outside == "background")
    values = fill + torch.nn.functional.grid_sample(
        stack.float() - fill, grid.to(stack.device, torch.float32), mode=mode, padding_mode="zeros", align_corners=True
    )
    volume = values.reshape(plain.shape[0], -1, height, width).movedim(1, 3).reshape(plain.shape).to(plain.dtype)
    result = convert_to_dst_type(volume, image)[0]
    if isinstance(result, MetaTensor) and isinstance(image, MetaTensor) and plain.ndim == 4:
        middle, source = np.eye(3), np.eye(4)
        middle[:2, 2] = (height - 1) / 2, (width - 1) / 2
        # From a voxel of the result to the voxel of the source that it shows.
        source[np.ix_([0, 1, 3], [0, 1, 3])] = middle @ np.linalg.inv(matrix) @ np.linalg.inv(middle)
        result.affine = image.affine @ torch.from_numpy(source).to(image.affine)
    return result


def _require_settings(move: RandomOrderAffined, prob: float) -> None:
    low, high = move.scale
    sound = {
        "rotate_deg": 0 <= move.rotate_deg <= 180,
        "translate_frac": 0 <= move.translate_frac < 1,
        "scale": 0 < low <= high,
        "flip_prob": 0 <= move.flip_prob <= 1,
        "prob": 0 <= prob <= 1,
        "mode": set(move.mode) <= {"bilinear", "nearest"},
        "outside": move.outside in ("zeros", "background"),
    }
    wrong = [f"{name}={getattr(move, name)}" for name, good in sound.items() if not good]
    if wrong:
        raise refused("E-AUG-01", where="RandomOrderAffined", found=", ".join(wrong))
