"""A deformed patch keeps its topology: nothing folds, nothing tears, and the rim moves no more than the inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, label

from monai_isles.errors import IslesError
from monai_isles.sampling import PatchLoader
from monai_isles.sampling.elastic import add_noise, deform, displacement, rescale, rotation_field

PAPER = {"alpha": 2.5, "sigma": 0.12}
PATCHES = pytest.mark.parametrize("patch", [(64, 64), (24, 24, 16)], ids=["2D", "3D"])


def fields(patch: tuple[int, ...], count: int = 200) -> np.ndarray:
    return displacement((count, *patch), **PAPER, rng=np.random.default_rng(0))


@PATCHES
def test_the_rim_moves_no_more_than_the_inside(patch: tuple[int, ...]) -> None:
    squared = (fields(patch) ** 2).sum(-1).mean(0)
    inner = np.zeros(patch, bool)
    inner[tuple(slice(1, -1) for _ in patch)] = True
    assert squared[~inner].mean() <= squared[inner].mean()
    corner = squared[tuple(0 for _ in patch)]
    assert corner < squared[~inner].mean()


@PATCHES
def test_less_than_half_a_percent_of_the_patch_is_folded(patch: tuple[int, ...]) -> None:
    """A point is folded where the determinant of identity plus gradient of the field is not positive."""
    dims, field = len(patch), fields(patch)
    gradient = np.stack([np.stack(np.gradient(field[..., k], axis=range(1, dims + 1)), -1) for k in range(dims)], -2)
    folded = (np.linalg.det(gradient + np.eye(dims)) <= 0).mean()
    assert 0 < folded < 0.005


@PATCHES
def test_a_disc_of_seven_voxels_stays_in_one_piece(patch: tuple[int, ...]) -> None:
    rng, count = np.random.default_rng(1), 200
    place = np.indices(patch)
    discs = np.zeros((count, 1, *patch), np.float32)
    for disc in discs:
        centre = [rng.integers(3, side - 3) for side in patch]
        disc[0] = sum((p - c) ** 2 for p, c in zip(place, centre, strict=True)) <= 3.5**2
    _, moved = deform(torch.from_numpy(discs), torch.from_numpy(discs), fields(patch))
    neighbours = np.ones((3,) * len(patch))
    pieces = [label(one[0] > 0, neighbours)[1] for one in moved.numpy()]
    assert np.mean(np.array(pieces) == 1) >= 0.97


def test_fields_have_simards_scale_in_the_middle() -> None:
    """Uniform noise has variance 1/3; a Gaussian of sigma s divides it by 2 sqrt(pi) s an axis."""
    field, sigma = displacement((64, 64, 64), **PAPER, rng=np.random.default_rng(0)), 0.12 * 64
    expected = 2.5 * 64 * np.sqrt(1 / 3) / (2 * np.sqrt(np.pi) * sigma)
    assert field[:, 24:40, 24:40].std() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("shape", [(5, 64, 64), (2, 16, 24), (1, 9, 7), (2, 24, 24, 16)])
def test_fields_are_those_of_scipy_s_filter_on_noise_with_zeros_around(shape: tuple[int, ...]) -> None:
    dims, side = len(shape) - 1, np.mean(shape[1:])
    field = displacement(shape, **PAPER, rng=np.random.default_rng(1))
    noise = np.random.default_rng(1).uniform(-1.0, 1.0, size=(shape[0], dims, *shape[1:])).astype(np.float32)
    wanted = gaussian_filter(noise, (0, 0, *(0.12 * side,) * dims), mode="constant", truncate=3.0)
    assert field.dtype == np.float32 and field.shape == (*shape, dims)
    np.testing.assert_allclose(field, np.moveaxis(2.5 * side * wanted, 1, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial", [(16, 12), (16, 12, 8)])
def test_no_displacement_changes_nothing_and_one_voxel_moves_one_voxel(spatial: tuple[int, ...]) -> None:
    image, lesion = torch.rand(2, 3, *spatial), (torch.rand(2, 1, *spatial) > 0.5).float()
    field = np.zeros((2, *spatial, len(spatial)), np.float32)
    still = deform(image, lesion, field)
    torch.testing.assert_close(still[0], image, atol=1e-5, rtol=0)
    assert torch.equal(still[1], lesion)
    field[..., 0] = 1
    moved = deform(image, lesion, field)
    torch.testing.assert_close(moved[0][:, :, :15], image[:, :, 1:], atol=1e-4, rtol=0)
    assert torch.equal(moved[1][:, :, :15], lesion[:, :, 1:])


def test_repeated_volumes_are_deformed_too() -> None:
    lesion = np.zeros((1, 40, 40, 20), np.float32)
    lesion[:, 18:20, 18:20, 9:11] = 1
    image = np.random.default_rng(2).normal(size=(2, 40, 40, 20)).astype(np.float32)
    case = {"image": image, "label": lesion, "foreground": np.ones_like(lesion), "case": "case_1"}
    settings = {"patch": (16, 16, 8), "per_case": 60, "batch_size": 60, "shuffle": False}
    plain, bent = (PatchLoader([case], **settings, elastic=elastic) for elastic in (None, PAPER))
    changed = (next(iter(plain))["image"] != next(iter(bent))["image"]).flatten(1).any(1)
    np.testing.assert_array_equal(changed.numpy(), bent.repeated)
    assert bent.repeated.sum() == 30 - 8


@pytest.mark.parametrize("spatial", [(16, 12), (16, 12, 8)])
def test_a_turn_keeps_the_distance_from_the_middle_and_a_scale_its_direction(spatial: tuple[int, ...]) -> None:
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in spatial[:2])
    place = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    plane = (slice(None), slice(None), slice(None), *([3] if len(spatial) == 3 else []))

    def ends(**how: float) -> np.ndarray:
        field = rotation_field((40, *spatial), rng=np.random.default_rng(3), **how)
        assert field.shape == (40, *spatial, len(spatial)) and field.dtype == np.float32
        assert not field[..., 2:].any()
        return place + field[plane][..., :2]

    assert np.array_equal(ends(rotate_deg=0, scale=0), np.broadcast_to(place, (40, *place.shape)))
    round_ = ends(rotate_deg=30, scale=0)
    np.testing.assert_allclose(
        np.linalg.norm(round_, axis=-1), np.linalg.norm(place, axis=-1) + np.zeros((40, 1, 1)), rtol=1e-5
    )
    corner = round_[:, 0, 0] @ place[0, 0] / (place[0, 0] @ place[0, 0])
    assert (corner > np.cos(np.deg2rad(30)) - 1e-6).all() and corner.min() < np.cos(np.deg2rad(25))
    ratio = ends(rotate_deg=0, scale=0.25) / place
    assert np.ptp(ratio, axis=(1, 2, 3)).max() < 1e-5
    assert 0.8 <= ratio.min() < 0.85 and 1.2 < ratio.max() <= 1.25


def test_every_channel_of_every_patch_is_rescaled_by_its_own_two_numbers() -> None:
    image = torch.randn(50, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    found = rescale(image, gain=0.2, shift=0.1, rng=np.random.default_rng(4))
    flat, after = image.flatten(2), found.flatten(2)
    factor = after.std(2) / flat.std(2)
    shift = after.mean(2) - factor * flat.mean(2)
    torch.testing.assert_close(after, factor[..., None] * flat + shift[..., None], atol=1e-5, rtol=0)
    assert 1 / 1.2 <= factor.min() < 0.87 and 1.15 < factor.max() <= 1.2001 and 0.09 < shift.abs().max() <= 0.1001


@pytest.mark.parametrize("spatial", [(64, 60), (32, 32, 16)])
def test_noise_keeps_unit_variance_and_stays_inside_the_brain(spatial: tuple[int, ...]) -> None:
    image = torch.randn(40, 2, *spatial, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(40, 1, *spatial)
    inside[:, :, :20] = 0
    found = add_noise(image.clone(), inside, noise=2.0, rng=np.random.default_rng(4))
    assert torch.equal(found[:, :, :20], image[:, :, :20])
    before, after = image[:, :, 20:].flatten(1), found[:, :, 20:].flatten(1)
    torch.testing.assert_close(after.std(1), torch.ones(40), atol=0.12, rtol=0)
    # With noise of standard deviation s the correlation with the patch before is 1 / sqrt(1 + s^2), and s <= 2.
    shared = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(before, after, strict=True)])
    assert 0.4 < shared.min() < 0.6 and 10 <= (shared > 0.9999).sum() <= 30 and (shared < 0.99).sum() >= 8


def test_a_loader_that_varies_changes_every_patch_and_only_by_its_seed() -> None:
    image = np.random.default_rng(2).normal(size=(2, 40, 40, 3)).astype(np.float32)
    lesion = np.zeros((1, 40, 40, 3), np.float32)
    lesion[:, 18:22, 18:22] = 1
    case = {"image": image, "label": lesion, "foreground": np.ones_like(lesion), "case": "case_1"}
    settings = {"patch": (16, 16), "per_case": 20, "batch_size": 20, "shuffle": False, "elastic": PAPER}
    vary = {"rotate_deg": 20, "scale": 0.2, "gain": 0.1, "shift": 0.1, "noise": 1.0}
    plain = next(iter(PatchLoader([case], **settings)))
    first, again, other = (next(iter(PatchLoader([case], **settings, seed=seed, vary=vary))) for seed in (0, 0, 1))
    assert (plain["image"] != first["image"]).flatten(1).any(1).all()
    assert torch.equal(first["image"], again["image"]) and not torch.equal(first["image"], other["image"])
    assert set(first["label"].unique().tolist()) == {0.0, 1.0}
    assert first["image"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("vary", [{"noise": -1.0}, {"nois": 1.0}, {"gain": float("nan")}], ids=str)
def test_a_variation_that_is_unknown_or_below_zero_is_refused(vary: dict[str, float]) -> None:
    case = {
        "image": np.ones((1, 8, 8, 1)),
        "label": np.ones((1, 8, 8, 1)),
        "foreground": np.ones((1, 8, 8, 1)),
        "case": "c",
    }
    with pytest.raises(IslesError, match=rf"E-SAMP-21(?s:.*)vary {next(iter(vary))} "):
        PatchLoader([case], patch=(8, 8), per_case=2, vary=vary)
