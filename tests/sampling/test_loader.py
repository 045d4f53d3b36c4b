"""Batches made ahead are those made when asked for, in the same order, and nothing is left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from monai_isles.sampling import PatchLoader, SliceLoader
from monai_isles.sampling.loader import ahead
from monai_isles.transforms import RandomOrderAffined


def numbers(count: int, made: list[int] | None = None) -> Iterator[dict[str, object]]:
    for number in range(count):
        if made is not None:
            made.append(number)
        yield {"number": number}


def threads() -> int:
    return sum(thread.name.startswith("next batches") for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_same_batches_come_in_the_same_order_and_the_thread_ends(depth: int) -> None:
    assert [batch["number"] for batch in ahead(numbers(20), depth)] == list(range(20))
    assert threads() == 0


def test_only_so_many_are_made_ahead_and_an_iteration_given_up_stops_the_thread() -> None:
    made: list[int] = []
    batches = ahead(numbers(100, made), 2)
    assert next(batches)["number"] == 0
    time.sleep(0.1)
    assert len(made) <= 4 and threads() == 1
    batches.close()
    assert threads() == 0


def test_nothing_is_made_before_the_first_request() -> None:
    made: list[int] = []
    batches = ahead(numbers(3, made), 2)
    time.sleep(0.05)
    assert not made and threads() == 0
    batches.close()


def test_what_goes_wrong_in_the_thread_is_raised_where_the_batch_is_asked_for() -> None:
    def broken() -> Iterator[dict[str, object]]:
        yield {"number": 0}
        raise ValueError("a broken case")

    batches = ahead(broken(), 2)
    assert next(batches)["number"] == 0
    with pytest.raises(ValueError, match="a broken case"):
        next(batches)
    assert threads() == 0


def case(name: str) -> dict[str, object]:
    rng = np.random.default_rng(3)
    label = np.zeros((1, 40, 40, 2), np.float32)
    label[:, 18:21, 18:21] = 1
    image = rng.normal(size=(2, 40, 40, 2)).astype(np.float32)
    return {"image": image, "label": label, "foreground": np.ones_like(label), "case": name}


def test_patches_and_slices_made_ahead_are_bit_identical_epoch_by_epoch() -> None:
    moved = {"augment": RandomOrderAffined(("image", "label"), mode=("bilinear", "nearest"))}
    bent = {"patch": (16, 16), "per_case": 60, "elastic": {"alpha": 2.5, "sigma": 0.12}}
    for kind, settings in ((PatchLoader, bent), (SliceLoader, moved)):
        loaders = [kind([case("a"), case("b")], batch_size=8, prefetch=depth, pin=True, **settings) for depth in (0, 2)]
        for epoch in (1, 2):
            for loader in loaders:
                loader.set_epoch(epoch)
            for now, early in zip(*loaders, strict=True):
                assert now.keys() == early.keys() and all(torch.equal(now[key], early[key]) for key in now)
