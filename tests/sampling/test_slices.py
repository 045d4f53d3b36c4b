"""Whole slices and volumes: every one once an epoch, the same order after a resume, padded where sizes differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandAffined, RandFlipd

from monai_isles.errors import IslesError
from monai_isles.sampling import SliceLoader
from monai_isles.transforms import DropGroupsd, RandomOrderAffined


def case(name: str, shape: tuple[int, int, int], first: int) -> dict[str, object]:
    """Return a case whose slice ``d`` holds the number ``first + d`` everywhere."""
    image = np.broadcast_to(first + np.arange(shape[2], dtype=np.float32), (1, *shape)).copy()
    return {"case": name, "image": image, "label": (image % 2).astype(np.float32)}


CASES = [case("a", (8, 6, 3), 10), case("b", (8, 6, 2), 20)]


def numbers(loader: SliceLoader) -> list[int]:
    return [int(image[0, 0, 0]) for batch in loader for image in batch["image"]]


def test_every_slice_comes_once_an_epoch_with_its_label_and_case() -> None:
    loader = SliceLoader(CASES, batch_size=2, seed=1)
    batches = list(loader)
    assert len(batches) == len(loader) == 3 and batches[0]["image"].shape == (2, 1, 8, 6)
    assert sorted(numbers(loader)) == [10, 11, 12, 20, 21]
    for batch in batches:
        assert torch.equal(batch["label"], batch["image"] % 2)
        assert [loader.names[i] for i in batch["case"]] == ["b" if v >= 20 else "a" for v in batch["image"][:, 0, 0, 0]]


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    many = [case("a", (4, 4, 20), 0)]
    loader, resumed = SliceLoader(many, batch_size=4, seed=3), SliceLoader(many, batch_size=4, seed=3)
    first = numbers(loader)
    loader.set_epoch(7)
    resumed.set_epoch(7)
    assert numbers(loader) == numbers(resumed) != first
    assert numbers(SliceLoader(many, batch_size=4, shuffle=False)) == list(range(20))


def test_whole_volumes_keep_all_their_slices() -> None:
    batches = list(SliceLoader(CASES, batch_size=1, whole=True, shuffle=False))
    assert [tuple(b["image"].shape) for b in batches] == [(1, 1, 8, 6, 3), (1, 1, 8, 6, 2)]
    assert batches[0]["image"][0, 0, 0, 0].tolist() == [10, 11, 12]


def test_slices_of_different_size_are_padded_at_their_far_ends() -> None:
    """The first voxel is background: -1.5 where a z-score made that of 0."""
    cases = [case("a", (8, 6, 1), 1), case("b", (4, 7, 1), 5)]
    for one in cases:
        one["image"][:, 0, 0] = -1.5
    (batch,) = SliceLoader(cases, batch_size=2, shuffle=False)
    assert batch["image"].shape == (2, 1, 8, 7)
    assert (batch["image"][1, 0, 1:4] == 5).all() and (batch["image"][1, 0, 4:] == -1.5).all()
    assert (batch["image"][0, 0, :, 6] == -1.5).all()


def test_an_augmentation_is_drawn_anew_each_epoch_and_the_same_after_a_resume() -> None:
    rng = np.random.default_rng(0)
    noise = {"case": "n", "image": rng.normal(size=(1, 32, 32, 2)), "label": np.zeros((1, 32, 32, 2))}

    def images(epoch: int) -> torch.Tensor:
        move = RandomOrderAffined(("image", "label"), mode=("bilinear", "nearest"))
        loader = SliceLoader([noise], batch_size=2, shuffle=False, augment=move)
        loader.set_epoch(epoch)
        return next(iter(loader))["image"]

    assert torch.equal(images(4), images(4)) and not torch.equal(images(4), images(5))
    assert not torch.equal(images(4)[0, 0], torch.as_tensor(noise["image"][0, ..., 0]).float())


def test_its_settings_read_the_same_in_every_process_and_tell_augmentations_apart() -> None:
    plain, moved = (SliceLoader(CASES, augment=move) for move in (None, RandomOrderAffined("image", rotate_deg=5)))
    again = SliceLoader(CASES, augment=RandomOrderAffined("image", rotate_deg=5))
    wider = SliceLoader(CASES, augment=RandomOrderAffined("image", rotate_deg=9))
    next(iter(moved))
    assert repr(moved) == repr(again) != repr(wider) and repr(plain) != repr(moved)


def test_no_cases_and_entries_of_different_size_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-SAMP-04.*\n.*SliceLoader"):
        SliceLoader([])
    crooked = case("c", (8, 6, 3), 0) | {"label": np.zeros((1, 8, 6, 2))}
    with pytest.raises(IslesError, match=r"(?s)E-SAMP-05.*c\n.*label \(8, 6, 2\)"):
        SliceLoader([crooked])


def test_neighbours_stand_before_and_after_and_the_ends_stand_for_what_is_beyond() -> None:
    (batch,) = SliceLoader([case("a", (4, 4, 3), 10)], batch_size=3, shuffle=False, neighbours=1)
    assert batch["image"][:, :, 0, 0].tolist() == [[10, 10, 11], [10, 11, 12], [11, 12, 12]]
    assert batch["label"].shape == (3, 1, 4, 4) and batch["label"][:, 0, 0, 0].tolist() == [0, 1, 0]


def test_what_describes_a_chain_of_moves_is_the_same_in_every_process() -> None:
    def chain(prob: float = 0.5, ct: float = 0.5, turn: float = 0.1) -> str:
        moves = [DropGroupsd("image", chances={"ct": ct}, slices=1), RandFlipd("image", prob=prob)]
        return repr(SliceLoader(CASES, augment=Compose([*moves, RandAffined("image", rotate_range=[turn])])))

    assert len({chain(), chain(), chain(prob=0.25), chain(ct=0.2), chain(turn=0.3)}) == 4 and " at 0x" not in chain()
