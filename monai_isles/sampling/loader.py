"""Make the next batches in a thread while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Full, Queue

import torch

from monai_isles.errors import refused


def batches_of(items: int, batch_size: int, rank: int) -> int:
    """Return how many batches of ``batch_size`` hold an item of process ``rank``: all, or all but the last."""
    full, rest = divmod(items, batch_size)
    return full + (rest > rank)


def require_enough(items: int, world_size: int, what: str) -> None:
    """Refuse to divide items among more processes than there are items (``E-SAMP-30``)."""
    if items < world_size:
        raise refused(
            "E-SAMP-30", where="the data loader", found=f"{items} {what} for {world_size} processes", what=what
        )


Batch = dict[str, object]


def ahead(batches: Iterator[Batch], depth: int, *, pin: bool = False) -> Iterator[Batch]:
    """Yield the same batches in the same order, up to ``depth`` of them made before they are asked for.

    One thread makes all of them one after another, so random draws stay in order; it starts with the first request and
    ends with the iterator, read to its end or not. What goes wrong in it is raised here.

    Args:
        depth: 0 makes every batch when it is asked for, without a thread.
        pin: put tensors into page-locked memory, from which a GPU copies while it computes; ignored without one.
    Source: ours; ``tests/sampling/test_loader.py``.
    """
    pin = pin and torch.cuda.is_available()
    if depth < 1:
        yield from (_pinned(batch) if pin else batch for batch in batches)
        return
    made: Queue[tuple[Batch | None, BaseException | None]] = Queue(maxsize=depth)
    done = threading.Event()
    thread = threading.Thread(target=_fill, args=(batches, made, done, pin), name="next batches", daemon=True)
    thread.start()
    try:
        while True:
            batch, fault = made.get()
            if fault is not None:
                raise fault
            if batch is None:
                return
            yield batch
    finally:
        done.set()
        thread.join()


def _fill(batches: Iterator[Batch], made: Queue, done: threading.Event, pin: bool) -> None:
    try:
        for batch in batches:
            if not _put(made, done, (_pinned(batch) if pin else batch, None)):
                return
    except BaseException as fault:  # noqa: B036 (raised again by the reader)
        _put(made, done, (None, fault))
        return
    _put(made, done, (None, None))


def _put(made: Queue, done: threading.Event, item: object) -> bool:
    while not done.is_set():
        try:
            made.put(item, timeout=0.2)
            return True
        except Full:
            continue
    return False


def _pinned(batch: Batch) -> Batch:
    return {key: value.pin_memory() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
