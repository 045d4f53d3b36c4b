"""Several processes divide the items as torch's DistributedSampler does: parts of equal length, nothing left out."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.sampling import PatchLoader, SliceLoader

KINDS = pytest.mark.parametrize("kind", [PatchLoader, SliceLoader])


def case(name: str, side: int = 40) -> dict[str, object]:
    label = np.zeros((1, side, side, 2), np.float32)
    label[:, 16:19, 16:19] = 1
    image = np.arange(2 * side * side * 2, dtype=np.float32).reshape(2, side, side, 2) + 10_000 * side
    return {"image": image, "label": label, "foreground": np.ones_like(label), "case": name}


def loaders(world: int, kind: type, **changes: object) -> list:
    """The loaders of all processes over 50 patches or 4 slices."""
    settings: dict[str, object] = {"batch_size": 16, "seed": 3} | changes
    settings |= {"patch": (16, 16), "per_case": 25} if kind is PatchLoader else {"batch_size": 3}
    return [kind([case("a"), case("b", 36)], rank=rank, world_size=world, **settings) for rank in range(world)]


def firsts(loader: object) -> list[float]:
    """What tells an item from the others: its first pixel, in the order in which it comes."""
    return [float(image[0].flatten()[0]) for batch in loader for image in batch["image"]]


@KINDS
@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_are_of_one_length_and_hold_every_item(kind: type, world: int) -> None:
    (whole,), parts = loaders(1, kind), loaders(world, kind)
    for loader in (whole, *parts):
        loader.set_epoch(4)
    wanted, found = firsts(whole), [firsts(part) for part in parts]
    assert len({len(part) for part in parts}) == 1 and {len(one) for one in found} == {-(-len(wanted) // world)}
    assert {x for one in found for x in one} == set(wanted)
    together = [found[place % world][place // world] for place in range(len(wanted))]
    assert together == wanted  # rank r has every world-th item of one process's order


@KINDS
def test_an_epoch_has_another_order_than_the_last(kind: type) -> None:
    (loader,) = loaders(1, kind)
    orders = []
    for epoch in range(6):
        loader.set_epoch(epoch)
        orders.append(tuple(firsts(loader)))
    assert len(set(orders)) > 1 and len({tuple(sorted(order)) for order in orders}) == 1


@KINDS
def test_more_processes_than_items_are_refused(kind: type) -> None:
    with pytest.raises(IslesError, match=r"E-SAMP-30.*fewer (patches|items) than processes(?s:.*)nproc_per_node"):
        loaders(60, kind)
