"""Batches of whole slices, or of whole volumes, from cached cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from monai.transforms import Randomizable
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.progress import progress
from monai_isles.sampling.loader import ahead, batches_of, require_enough

Augment = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


class SliceLoader:
    """Iterate over shuffled batches of the axial slices of many cases, or of the cases themselves.

    Every epoch visits each item once, in an order and with an augmentation that depend on the seed and the epoch alone,
    so a resumed run sees what an uninterrupted one would have. Items of different size are padded with zeros at their
    far ends to the largest of the batch.

    Shapes: batches are ``{key: (B, C, H, W)}``, or ``(B, C, H, W, D)`` with ``whole``, and ``"case": (B,)``; float32.
    Args:
        dataset: preprocessed cases with ``case`` and each of ``keys`` as ``(C, H, W, D)``.
        augment: MONAI dictionary transform of one item; a randomizable one is seeded by seed, epoch and item.
        whole: give volumes instead of slices.
        rank, world_size: this process takes every ``world_size``-th item of each batch; its batches then tell with
            ``total`` how many items all processes have.
        in_step: give every process the same number of batches, the last perhaps an empty one; False leaves that out.
        prefetch, pin: batches made ahead in a thread, and whether in page-locked memory (``sampling.ahead``).
        channels_last: the memory layout in which GPUs compute convolutions fastest; other bits than without.
    Raises:
        IslesError: ``E-SAMP-04`` for no cases at all, ``E-SAMP-05`` when the entries of a case differ in size,
            ``E-SAMP-30`` for more processes than items.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.6; Wang 2020
        (doi:10.1016/j.media.2020.101787), section 3.
    """

    def __init__(
        self,
        dataset: Sequence[Mapping[str, object]],
        *,
        keys: Sequence[str] = ("image", "label"),
        batch_size: int = 8,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        whole: bool = False,
        rank: int = 0,
        world_size: int = 1,
        in_step: bool = True,
        prefetch: int = 0,
        pin: bool = False,
        channels_last: bool = False,
    ) -> None:
        if not len(dataset):
            raise refused("E-SAMP-04", where="SliceLoader", found="0 cases", fault="nothing to cut slices from")
        self.keys, self.batch_size, self.seed, self.shuffle = tuple(keys), batch_size, seed, shuffle
        self.augment, self.whole, self.rank, self.world_size, self.epoch = augment, whole, rank, world_size, 0
        self.in_step, self.prefetch, self.pin, self.channels_last = in_step, prefetch, pin, channels_last
        self.names: list[str] = []
        self._cases: list[dict[str, Tensor]] = []
        for item in progress(dataset, "reading cases", total=len(dataset)):
            self._add(item)
        places = [(i, d) for i, case in enumerate(self._cases) for d in range(1 if whole else _depth(case))]
        self.case, self.level = np.array(places).T
        require_enough(len(self.case), world_size, "items")

    def __repr__(self) -> str:
        cut = f"keys={self.keys}, batch_size={self.batch_size}, seed={self.seed}, shuffle={self.shuffle}"
        move = None if self.augment is None else _settings(self.augment)
        return f"SliceLoader({cut}, augment={move}, whole={self.whole}, cases={self.names})"

    def __len__(self) -> int:
        return batches_of(len(self.case), self.batch_size, 0 if self.in_step else self.rank)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration takes."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, object]]:
        return ahead(self._batches(), self.prefetch, pin=self.pin)

    def _batches(self) -> Iterator[dict[str, object]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.case)) if self.shuffle else np.arange(len(self.case))
        alone = self.world_size == 1
        for first in range(0, len(self) * self.batch_size, self.batch_size):
            together = order[first : first + self.batch_size]
            mine = together[self.rank :: self.world_size]
            items = [self._item(int(place)) for place in mine]
            least = [next(iter(self._cases[case].values())).shape[1:] for case in self.case[together]]
            sides = np.array(least).max(axis=0)[: None if self.whole else 2] * (not alone)
            batch = {key: _stacked([item[key] for item in items], len(self._cases[0][key]), sides) for key in self.keys}
            if self.channels_last:
                batch = {key: value.contiguous(memory_format=_layout(value)) for key, value in batch.items()}
            yield {**batch, "case": torch.from_numpy(self.case[mine]), **({} if alone else {"total": len(together)})}

    def _add(self, item: Mapping[str, object]) -> None:
        name = str(item["case"])
        case = {key: torch.as_tensor(np.asarray(item[key]), dtype=torch.float32).contiguous() for key in self.keys}
        sizes = {key: tuple(value.shape[1:]) for key, value in case.items()}
        if len(set(sizes.values())) != 1:
            raise refused("E-SAMP-05", where=name, found=", ".join(f"{key} {size}" for key, size in sizes.items()))
        self.names.append(name)
        self._cases.append(case)

    def _item(self, place: int) -> Mapping[str, Tensor]:
        case, level = self._cases[self.case[place]], int(self.level[place])
        item = {key: value if self.whole else value[..., level] for key, value in case.items()}
        if self.augment is None:
            return item
        if isinstance(self.augment, Randomizable):
            drawn = np.random.SeedSequence([self.seed, self.epoch, place]).generate_state(1)
            self.augment.set_random_state(seed=int(drawn[0]))
        return self.augment(item)


def _depth(case: Mapping[str, Tensor]) -> int:
    return int(next(iter(case.values())).shape[-1])


def _stacked(items: Sequence[Tensor], channels: int, sides: np.ndarray) -> Tensor:
    """Return one batch, as large as the largest item of all processes; an empty one where there is none for this."""
    size = np.array([sides, *(item.shape[1:] for item in items)]).max(axis=0)
    batch = torch.zeros(len(items), items[0].shape[0] if items else channels, *size.tolist())
    for row, item in zip(batch, items, strict=True):
        row[tuple(slice(n) for n in item.shape)] = torch.as_tensor(item)
    return batch


def _layout(batch: Tensor) -> torch.memory_format:
    return torch.channels_last if batch.ndim == 4 else torch.channels_last_3d


def _settings(move: object) -> str:
    """Return what decides an augmentation, without addresses in memory."""
    parts = [_settings(one) for one in getattr(move, "transforms", ())]
    plain = {
        name: value
        for name, value in sorted(vars(move).items())
        if isinstance(value, (int, float, str, tuple)) and not name.startswith("_") and name != "order"
    }
    return f"{type(move).__name__}({', '.join([*parts, *(f'{k}={v}' for k, v in plain.items())])})"
