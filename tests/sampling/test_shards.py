"""Several processes share every batch: nothing twice, nothing left out, the random draws of one process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.sampling import PatchLoader, SliceLoader


def case(name: str, side: int = 40) -> dict[str, object]:
    rng = np.random.default_rng(len(name) + side)
    label = np.zeros((1, side, side, 2), np.float32)
    label[:, 16:19, 16:19] = 1
    image = rng.normal(size=(2, side, side, 2)).astype(np.float32)
    return {"image": image, "label": label, "foreground": np.ones_like(label), "case": name}


def loaders(world: int, *, kind: type = PatchLoader, **changes: object) -> list:
    settings: dict[str, object] = {"batch_size": 16, "seed": 3} | changes
    if kind is PatchLoader:
        settings = {"patch": (16, 16), "per_case": 25, "elastic": {"alpha": 2.5, "sigma": 0.12}} | settings
    else:
        settings["batch_size"] = 3
    cases = [case("a"), case("b", 36)]
    return [kind(cases, rank=rank, world_size=world, **settings) for rank in range(world)]


@pytest.mark.parametrize("kind", [PatchLoader, SliceLoader])
@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_every_batch_are_the_rows_of_one_process_s_batch(kind: type, world: int) -> None:
    (whole,), parts = loaders(1, kind=kind), loaders(world, kind=kind)
    for loader in (whole, *parts):
        loader.set_epoch(4)
    assert all(len(part) == len(whole) for part in parts)
    for batch, *mine in zip(whole, *parts, strict=True):
        assert "total" not in batch
        for rank, part in enumerate(mine):
            assert part["total"] == len(batch["case"])
            for key, value in batch.items():
                assert torch.equal(part[key], value[rank::world]), key


def test_a_last_batch_that_is_too_small_leaves_a_process_an_empty_one_to_stay_in_step() -> None:
    parts = [list(loader) for loader in loaders(2, batch_size=49)]  # 50 patches
    assert [[len(batch["case"]) for batch in part] for part in parts] == [[25, 1], [24, 0]]
    assert parts[1][1]["image"].shape == (0, 2, 16, 16)


@pytest.mark.parametrize("kind", [PatchLoader, SliceLoader])
def test_out_of_step_empty_batches_are_left_out_and_still_nothing_is_lost(kind: type) -> None:
    parts = loaders(2, kind=kind, batch_size=49, in_step=False)
    batches = [list(loader) for loader in parts]
    assert (
        [len(loader) for loader in parts]
        == [len(part) for part in batches]
        == ([2, 1] if kind is PatchLoader else [2, 1])
    )
    assert all(len(batch["case"]) for part in batches for batch in part)
    assert sum(len(batch["case"]) for part in batches for batch in part) == len(parts[0].case)


@pytest.mark.parametrize("kind", [PatchLoader, SliceLoader])
def test_more_processes_than_items_are_refused(kind: type) -> None:
    with pytest.raises(IslesError, match=r"E-SAMP-30.*fewer (patches|items) than processes(?s:.*)nproc_per_node"):
        loaders(60, kind=kind)
