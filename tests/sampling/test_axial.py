"""Repeated patches alone are reflected or turned, label and image alike; the rest of a volume is not kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.sampling import PatchLoader
from monai_isles.sampling.elastic import OPERATIONS, apply_operation, axial_operations

PATCH = (8, 8, 4)


def case(lesion_side: int = 2, name: str = "case_1") -> dict[str, object]:
    """A volume whose image holds the label and three ramps, so that a patch tells where it comes from."""
    label, brain = np.zeros((1, 40, 36, 20), np.float32), np.zeros((1, 40, 36, 20), np.float32)
    brain[:, 12:28, 12:24, 7:13] = 1
    label[:, 16 : 16 + lesion_side, 14 : 14 + lesion_side, 8:10] = 1
    ramps = np.stack(np.meshgrid(*(np.arange(n) for n in (40, 36, 20)), indexing="ij")).astype(np.float32)
    return {"image": np.concatenate([label, ramps]), "label": label, "foreground": brain, "case": name}


def loader(**changes: object) -> PatchLoader:
    settings = {"patch": PATCH, "per_case": 200, "batch_size": 16, "seed": 5, "shuffle": False} | changes
    return PatchLoader([case()], **settings)


def patches(made: PatchLoader, key: str = "image") -> torch.Tensor:
    return torch.cat([batch[key] for batch in made])


def test_the_operations_are_a_reflection_and_three_quarter_turns() -> None:
    corner = torch.zeros(1, 1, 3, 3, 2)
    corner[0, 0, 0, 1, 0] = 1  # the middle of the left edge
    went = [tuple(np.argwhere(apply_operation(corner, kind)[0, 0].numpy())[0]) for kind in range(len(OPERATIONS))]
    assert went[:2] == [(0, 1, 0), (2, 1, 0)]
    assert {went[2], went[4]} == {(1, 0, 0), (1, 2, 0)} and went[3] == (2, 1, 0)
    twice = apply_operation(apply_operation(corner, 2), 4)
    assert torch.equal(twice, corner) and torch.equal(apply_operation(apply_operation(corner, 3), 3), corner)


def test_only_repeated_lesion_patches_change_and_the_label_goes_along() -> None:
    plain, turned = loader(), loader(augment="axial")
    changed = (patches(plain) != patches(turned)).flatten(1).any(1).numpy()
    assert plain.repeated.sum() == 100 - 8 and (plain.repeated & ~plain.on_lesion).sum() == 0
    np.testing.assert_array_equal(changed, turned.operation > 0)
    assert not changed[~turned.repeated].any() and changed[turned.repeated].mean() == pytest.approx(0.8, abs=0.15)
    assert torch.equal(patches(turned)[:, :1], patches(turned, "label"))


def test_depth_stays_upright_under_every_operation() -> None:
    depth = patches(loader(augment="axial"))[:, 3]
    assert (depth.diff(dim=3) == 1).all()


def test_all_five_operations_are_drawn_and_follow_from_the_seed() -> None:
    repeated = np.ones(1000, bool)
    drawn = [axial_operations(repeated, np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    assert np.bincount(drawn[0], minlength=5).min() > 150
    assert not axial_operations(~repeated, np.random.default_rng(3)).any()


def test_all_patches_centred_on_the_lesion_can_be_operated() -> None:
    made = loader(augment="axial", augmented="lesion")
    assert (made.on_lesion & ~made.repeated).sum() == 8 and not made.operation[~made.on_lesion].any()
    assert (made.operation[made.on_lesion] > 0).mean() == pytest.approx(0.8, abs=0.12)


def test_enough_lesion_voxels_leave_every_patch_as_it_is() -> None:
    made = PatchLoader([case(10)], patch=PATCH, per_case=200, seed=5, augment="axial")
    assert not made.repeated.any() and not made.operation.any()


def test_offsets_on_every_axis_keep_the_lesion_voxel_inside() -> None:
    cut = loader(per_case=400, augment="axial")
    assert (patches(cut, "label").flatten(1).any(1).numpy() == cut.on_lesion)[cut.on_lesion].all()
    spread = np.ptp(cut.start[cut.on_lesion], axis=0)
    assert (spread > np.array(PATCH) - 3).all()


def test_without_offset_half_of_the_patches_are_centred_on_the_lesion() -> None:
    cut = loader(offset=False)
    centre = patches(cut, "label")[:, 0, 4, 4, 2].numpy()
    np.testing.assert_array_equal(centre > 0, cut.on_lesion)


def test_only_the_box_that_patches_reach_is_kept() -> None:
    made, whole = loader(), case()
    kept = made._cases[0].image
    assert kept.shape[:3] < (40, 36, 20) and kept.size < whole["image"].size / 2
    for patch, (i, j, k) in zip(patches(made), made.start, strict=True):
        assert torch.equal(patch, torch.from_numpy(whole["image"][:, i : i + 8, j : j + 8, k : k + 4]))


def test_patches_are_channels_last_in_three_dimensions() -> None:
    assert next(iter(loader()))["image"].is_contiguous(memory_format=torch.channels_last_3d)


def test_the_augmentation_is_part_of_what_a_checkpoint_describes() -> None:
    assert "augment=axial" in repr(loader(augment="axial")) and "augment" not in repr(loader())


@pytest.mark.parametrize(("augment", "patch"), [("elastic", PATCH), ("axial", (8, 6, 4))])
def test_an_augmentation_that_cannot_be_is_refused(augment: str, patch: tuple[int, ...]) -> None:
    with pytest.raises(IslesError, match=rf"E-SAMP-20.*augmentation(?s:.*){augment}"):
        loader(augment=augment, patch=patch)
