"""Patches are balanced, regular, repeated only where needed, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.sampling import PatchLoader, balanced_centres


def masks(lesion_side: int) -> tuple[np.ndarray, np.ndarray]:
    brain, lesion = np.zeros((96, 96, 2), bool), np.zeros((96, 96, 2), bool)
    brain[24:72, 24:72] = True
    lesion[30 : 30 + lesion_side, 40 : 40 + lesion_side, 0] = True
    return lesion, brain


def centres(lesion_side: int, count: int, offset: tuple[int, int, int] = (16, 16, 0)):
    lesion, brain = masks(lesion_side)
    return balanced_centres(lesion, brain, count=count, max_offset_vox=offset, rng=np.random.default_rng(0), case="c")


def test_half_of_the_patches_hold_the_lesion_and_half_are_centred_on_healthy_brain() -> None:
    found, (lesion, brain) = centres(20, 100), masks(20)
    assert found.on_lesion.sum() == 50
    healthy = found.position[~found.on_lesion]
    assert brain[tuple(healthy.T)].all() and not lesion[tuple(healthy.T)].any()


def test_an_offset_keeps_the_chosen_lesion_voxel_inside_the_patch() -> None:
    near, far = centres(20, 400, (0, 0, 0)), centres(20, 400)
    moved = (far.position - near.position)[far.on_lesion]
    assert moved.min() == -15 and moved.max() == 16 and not moved[:, 2].any()
    inside = near.position - (far.position - 16)
    assert (inside[far.on_lesion][:, :2] >= 0).all() and (inside[far.on_lesion][:, :2] < 32).all()


def test_healthy_centres_come_at_regular_steps_from_the_whole_volume() -> None:
    lesion, brain = masks(0)
    order = np.argwhere(brain)
    found = centres(0, 48)
    assert not found.on_lesion.any()
    np.testing.assert_array_equal(found.position, order[:: len(order) // 48])


def test_voxels_repeat_only_when_they_do_not_suffice() -> None:
    assert not centres(20, 800).repeated.any()
    few = centres(3, 100)
    assert few.repeated.sum() == 50 - 9 and not few.repeated[~few.on_lesion].any()


def test_a_case_without_brain_is_refused() -> None:
    empty = np.zeros((4, 4, 1), bool)
    with pytest.raises(IslesError, match="E-SAMP-01.*\n.*case_9"):
        balanced_centres(empty, empty, count=4, max_offset_vox=(0, 0, 0), rng=np.random.default_rng(0), case="case_9")


def test_a_count_below_two_is_refused() -> None:
    with pytest.raises(IslesError, match="E-SAMP-02"):
        centres(3, 1)


def case(seed: int, side: int = 96, slices: int = 2) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    lesion, brain = masks(12)
    image = rng.normal(size=(3, side, side, slices)).astype(np.float32)
    return {"image": torch.from_numpy(image), "label": lesion[None], "foreground": brain[None], "case": f"case_{seed}"}


def loader(**changes: object) -> PatchLoader:
    settings = {"patch": (32, 32), "per_case": 40, "batch_size": 16, "seed": 3} | changes
    return PatchLoader([case(1), case(2)], **settings)


def test_every_patch_comes_once_an_epoch_and_equals_the_volume_there() -> None:
    patches, seen = loader(), 0
    for batch in patches:
        assert batch["image"].shape[1:] == (3, 32, 32) and batch["label"].shape[1:] == (1, 32, 32)
        seen += len(batch["case"])
    assert seen == 80 == len(patches.case) and len(patches) == 5
    first = next(iter(loader(shuffle=False)))
    d, i, j = loader(shuffle=False).start[0]
    expected = case(1)["image"][:, i : i + 32, j : j + 32, d]
    torch.testing.assert_close(first["image"][0], expected)


def test_order_follows_from_seed_and_epoch_alone() -> None:
    one, two = loader(), loader()
    two.set_epoch(1)
    list(two)
    two.set_epoch(0)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a["image"], b["image"])
    two.set_epoch(1)
    assert not torch.equal(next(iter(one))["image"], next(iter(two))["image"])


def test_batches_are_channels_last() -> None:
    assert next(iter(loader()))["image"].is_contiguous(memory_format=torch.channels_last)


def test_volumes_give_three_dimensional_patches() -> None:
    cut = next(iter(loader(patch=(32, 32, 2))))
    assert cut["image"].shape == (16, 3, 32, 32, 2) and cut["label"].shape == (16, 1, 32, 32, 2)


def test_repeated_patches_alone_are_deformed() -> None:
    plain, bent = (
        loader(per_case=600, shuffle=False),
        loader(per_case=600, shuffle=False, elastic={"alpha": 2.5, "sigma": 0.12}),
    )
    changed = [(a["image"] != b["image"]).flatten(1).any(1) for a, b in zip(plain, bent, strict=True)]
    np.testing.assert_array_equal(torch.cat(changed).numpy(), bent.repeated)
    assert bent.repeated.sum() == 2 * (300 - 144)


def test_the_sampler_raises_the_share_of_lesion_voxels() -> None:
    lesion, brain = masks(12)
    share = np.mean([float(b["label"].mean()) for b in loader(per_case=400)])
    assert share > 2 * lesion.sum() / brain.sum()


def test_a_volume_smaller_than_the_patch_is_refused_by_name() -> None:
    with pytest.raises(IslesError, match="E-SAMP-03.*\n.*case_1; case_2\n.*96"):
        loader(patch=(128, 128))


def test_no_cases_is_refused() -> None:
    with pytest.raises(IslesError, match="E-SAMP-04"):
        PatchLoader([], patch=(8, 8))


def test_fresh_centres_are_others_every_epoch_and_follow_from_it() -> None:
    """A regular step from a random first voxel: as many on the lesion, all in the brain, other voxels."""
    one, again = loader(centres="fresh", offset=False, shuffle=False), loader(centres="fresh", offset=False)
    starts = []
    for epoch in (1, 2):
        one.set_epoch(epoch)
        batches = list(one)
        starts.append(one.start.copy())
        assert sum(len(batch["case"]) for batch in batches) == 80 and one.on_lesion.sum() == 40
        lesion, brain = masks(12)
        for (d, i, j), sick in zip(one.start, one.on_lesion, strict=True):
            assert brain[i + 16, j + 16, d] and lesion[i + 16, j + 16, d] == sick
    assert not np.array_equal(*starts)
    again.set_epoch(2)
    next(iter(again))
    np.testing.assert_array_equal(again.start, starts[1])
    d, i, j = starts[1][0]
    torch.testing.assert_close(batches[0]["image"][0], case(1)["image"][:, i : i + 32, j : j + 32, d])


def test_a_whole_batch_is_reflected_with_the_probability_asked_for() -> None:
    plain, flipped = loader(shuffle=False), loader(shuffle=False, flip=1.0)
    for a, b in zip(plain, flipped, strict=True):
        assert torch.equal(a["image"].flip(2), b["image"]) and torch.equal(a["label"].flip(2), b["label"])
        assert b["image"].is_contiguous(memory_format=torch.channels_last)
    often = loader(per_case=640, shuffle=False, flip=0.5)
    wanted = loader(per_case=640, shuffle=False)
    kept = [torch.equal(a["image"], b["image"]) for a, b in zip(wanted, often, strict=True)]
    assert len(kept) == 80 and 25 <= sum(kept) <= 55


@pytest.mark.parametrize("changes", [{"centres": "new"}, {"augmented": "all"}, {"flip": 1.5}])
def test_unknown_draws_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(IslesError, match="E-SAMP-21"):
        loader(**changes)
