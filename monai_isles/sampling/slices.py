"""Iterate over batches of whole slices, or of whole volumes, from cached cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.sampling.cases import collect_cases
from monai_isles.sampling.loader import Batch, CaseLoader

Augment = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
KEYS = ("image", "label")


class SliceLoader(CaseLoader):
    """Iterate over shuffled batches of the axial slices of many cases, or of the cases themselves (``CaseLoader``).

    Smaller items are padded with background at their far ends to the largest of the batch.

    Shapes: batches are ``{key: (B, C, H, W)}``, or ``(B, C, H, W, D)`` with ``whole``, and ``"case": (B,)``; float32.
    Args:
        dataset: preprocessed cases with ``case``, and ``image`` and ``label`` as ``(C, H, W, D)``.
        augment: MONAI dictionary transform of one item; a randomizable one is seeded by seed, epoch and item.
        whole: yield volumes instead of slices.
        neighbours: slices on either side whose channels are stacked around those of the image (``stacked_slices``).
        channels_last: memory layout in which GPUs compute convolutions fastest; the last bits of results differ.
        batch_size, seed, shuffle, rank, world_size, prefetch, pin: see ``CaseLoader``.
    Raises: ``E-SAMP-04`` for no cases at all, and when no case is left: ``E-SAMP-05`` the entries of each differ in
    size, or what ``dataset`` raises.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.6; Wang 2020
        (doi:10.1016/j.media.2020.101787), section 3.

    >>> case = {"case": "case_01", "image": np.zeros((2, 8, 8, 3)), "label": np.ones((1, 8, 8, 3))}
    >>> [tuple(batch["image"].shape) for batch in SliceLoader([case], batch_size=2)]  # three slices
    [(2, 2, 8, 8), (1, 2, 8, 8)]
    """

    def __init__(
        self,
        dataset: Sequence[Mapping[str, Any]],
        *,
        batch_size: int = 8,
        augment: Augment | None = None,
        whole: bool = False,
        neighbours: int = 0,
        channels_last: bool = False,
        **division: Any,
    ) -> None:
        if not len(dataset):
            raise refused("E-SAMP-04", where="SliceLoader", found="0 cases", fault="nothing to cut slices from")
        self.augment, self.whole, self.channels_last = augment, whole, channels_last
        self.neighbours = neighbours
        named, self.left_out = collect_cases(dataset, lambda item, _: self._read(item), title="reading cases")
        self._cases = [case for _, case in named]
        depths = [1 if whole else case["image"].shape[-1] for case in self._cases]
        places = [(i, d) for i, depth in enumerate(depths) for d in range(depth)]
        case, self.level = np.array(places).T
        super().__init__([name for name, _ in named], case, batch_size=batch_size, **division)
        self._tell_few_lesions([bool((element["label"][:1] > 0).any()) for element in self._cases])

    def __repr__(self) -> str:
        cut = f"keys={KEYS}, batch_size={self.batch_size}, seed={self.seed}, shuffle={self.shuffle}"
        move = None if self.augment is None else _settings(self.augment)
        beside = f", neighbours={self.neighbours}" if self.neighbours else ""
        return f"SliceLoader({cut}, augment={move}, whole={self.whole}{beside}, cases={self.names})"

    def _batch(self, chosen: np.ndarray, rng: np.random.Generator) -> Batch:
        items = [self._item(int(place)) for place in chosen]
        batch = {key: _stack([item[key] for item in items]) for key in KEYS}
        if self.channels_last:
            memory = torch.channels_last_3d if self.whole else torch.channels_last
            batch = {key: value.contiguous(memory_format=memory) for key, value in batch.items()}
        return batch

    def _read(self, item: Mapping[str, Any]) -> tuple[str, dict[str, Tensor]]:
        name = str(item["case"])
        case = {key: torch.as_tensor(np.asarray(item[key]), dtype=torch.float32).contiguous() for key in KEYS}
        sizes = {key: tuple(value.shape[1:]) for key, value in case.items()}
        if len(set(sizes.values())) != 1:
            raise refused("E-SAMP-05", where=name, found=", ".join(f"{key} {size}" for key, size in sizes.items()))
        return name, case

    def _item(self, place: int) -> Mapping[str, Tensor]:
        case, level = self._cases[self.case[place]], int(self.level[place])
        item = {key: value if self.whole else value[..., level] for key, value in case.items()}
        if self.neighbours:
            item["image"] = stacked_slices(case["image"], level, self.neighbours)
        if self.augment is None:
            return item
        if isinstance(self.augment, Randomizable):
            # The draw depends on seed, epoch and slice, not on the order of loading.
            drawn = np.random.SeedSequence([self.seed, self.epoch, place]).generate_state(1)
            self.augment.set_random_state(seed=int(drawn[0]))
        return self.augment(item)


def stacked_slices(volume: Tensor, level: int, neighbours: int) -> Tensor:
    """Return the channels of a slice and its neighbours, the lowest first; the end slices are repeated.

    Shapes: ``(C, H, W, D)`` in, ``((2 neighbours + 1) C, H, W)`` out.

    >>> stacked_slices(torch.arange(3.0).reshape(1, 1, 1, 3), 2, 1).flatten().tolist()
    [1.0, 2.0, 2.0]
    """
    places = range(level - neighbours, level + neighbours + 1)
    # The end slice repeats beyond the ends.
    return torch.cat([volume[..., min(max(place, 0), volume.shape[-1] - 1)] for place in places])


def _stack(items: Sequence[Tensor]) -> Tensor:
    """Return one batch, as large as its largest item, padded with each channel's first voxel, which is background."""
    size = np.array([item.shape[1:] for item in items]).max(axis=0)
    batch = torch.empty(len(items), items[0].shape[0], *size.tolist())
    for row, item in zip(batch, items, strict=True):
        row[:] = item[(slice(None), *(slice(1) for _ in size))]  # fill with the background, then lay the item in
        row[tuple(slice(n) for n in item.shape)] = torch.as_tensor(item)
    return batch


def _settings(move: object) -> str:
    """Return the settings of an augmentation and of the transforms inside it, without memory addresses."""
    own = {name: value for name, value in sorted(vars(move).items()) if name not in ("order", "transforms", "drawn")}
    inside = [*getattr(move, "transforms", ()), *(value for value in own.values() if isinstance(value, Transform))]
    kinds = (int, float, str, tuple, dict)  # lists hold what was drawn
    plain = [f"{k}={v}" for k, v in own.items() if isinstance(v, kinds) and not k.startswith("_")]
    return f"{type(move).__name__}({', '.join([*map(_settings, inside), *plain])})"
