"""Iterate over shuffled batches; the order depends on the epoch, and a thread prepares batches in advance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DistributedSampler

from monai_isles.data.datalist import tell_few_lesions
from monai_isles.errors import refused
from monai_isles.io.findings import Finding

Batch = dict[str, Any]


class CaseLoader(ABC):
    """Iterate over batches of the items of many cases; base of the loaders of patches, slices and volumes.

    Every epoch visits each item once. Order and random draws depend on the seed and the epoch only, so a resumed run
    equals an uninterrupted one. A case that cannot be read or prepared is left out with its reason in ``left_out``; the
    order is then that of a data set without it. Each of several processes takes its own part of the items
    (``torch.utils.data.DistributedSampler``: parts of equal length, some items twice to fill the last part).

    Args:
        case: (items,) number of the case of each item.
        prefetch, pin: number of batches prepared in advance by a thread, and whether in page-locked memory (``ahead``).
    """

    items = "items"
    left_out: Sequence[Finding] = ()

    def __init__(
        self, names: Sequence[str], case: np.ndarray, *, batch_size: int, seed: int = 0, shuffle: bool = True,
        rank: int = 0, world_size: int = 1, prefetch: int = 0, pin: bool = False,
    ) -> None:  # fmt: skip
        if len(case) < world_size:
            result = f"{len(case)} {self.items} for {world_size} processes"
            raise refused("E-SAMP-30", where="the data loader", found=result, what=self.items)
        self.names, self.case, self.batch_size, self.seed, self.shuffle = list(names), case, batch_size, seed, shuffle
        self.rank, self.prefetch, self.pin, self.epoch = rank, prefetch, pin, 0
        places: Any = range(len(case))
        self._sampler: DistributedSampler[int] = DistributedSampler(
            places, world_size, rank, shuffle=shuffle, seed=seed
        )

    def __len__(self) -> int:
        return -(-len(self._sampler) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order the next iteration uses."""
        self.epoch = epoch
        self._sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        return ahead(self._batches(), self.prefetch, pin=self.pin)

    def _batches(self) -> Iterator[Batch]:
        # Draws depend on the epoch, so a resumed run repeats them.
        rng = np.random.default_rng([self.seed, self.epoch, self.rank])
        order = np.fromiter(self._sampler, np.int64)
        for first in range(0, len(order), self.batch_size):
            chosen = order[first : first + self.batch_size]
            yield {**self._batch(chosen, rng), "case": torch.from_numpy(self.case[chosen])}

    def _tell_few_lesions(self, hold: Sequence[bool]) -> None:
        """Add a remark if few training cases hold a lesion; a loader that does not shuffle is one for validation."""
        if self.shuffle:
            tell_few_lesions(self.names, hold)

    @abstractmethod
    def _batch(self, chosen: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return the patches or slices of one batch."""


def ahead(batches: Iterator[Batch], depth: int, *, pin: bool = False) -> Iterator[Batch]:
    """Yield the same batches in the same order, up to ``depth`` of them prepared in advance.

    One thread makes them one after another, so random draws stay in order. It starts with the first request and ends
    with the iterator. Its exceptions are raised here.

    Args:
        depth: 0 makes each batch on request, without a thread.
        pin: put tensors into page-locked memory, from which a GPU copies while it computes; ignored without one.
    """
    if pin and torch.cuda.is_available():
        batches = map(_pin, batches)
    if depth < 1:
        yield from batches
        return
    with ThreadPoolExecutor(1, "next batches") as pool:
        # One worker keeps the order. A batch is asked for when one is taken, so that ``depth`` of them are on the way.
        made = deque(pool.submit(next, batches, None) for _ in range(depth))
        try:
            while (batch := made.popleft().result()) is not None:
                made.append(pool.submit(next, batches, None))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def _pin(batch: Batch) -> Batch:
    return {key: value.pin_memory() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
