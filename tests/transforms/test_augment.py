from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from monai_isles.errors import IslesError
from monai_isles.transforms import GrainNoised, RandomOrderAffined
from monai_isles.transforms.augment import MOVES, move_image


def draws(count: int = 400, **settings: object) -> list[RandomOrderAffined]:
    kept = []
    for seed in range(count):
        move = RandomOrderAffined("x", **settings)
        move.set_random_state(seed)
        move.randomize()
        kept.append(move)
    return kept


@pytest.mark.parametrize(("name", "low", "high"), [("rotate", -10, 10), ("translate", -0.1, 0.1), ("scale", 0.9, 1.1)])
def test_amounts_fill_the_papers_range_evenly(name: str, low: float, high: float) -> None:
    values = np.concatenate([move.drawn[name] for move in draws()])
    assert low <= values.min() < low + 0.02 * (high - low) and high - 0.02 * (high - low) < values.max() <= high
    counts, _ = np.histogram(values, bins=4, range=(low, high))
    assert counts.min() > 0.18 * len(values)  # a quarter each, four sigmas at 400


def test_each_axis_is_flipped_half_of_the_time_apart_from_the_other() -> None:
    flips = np.array([move.drawn["flip"] for move in draws()])
    shares = [(flips == pair).all(axis=1).mean() for pair in ([0, 0], [0, 1], [1, 0], [1, 1])]
    assert min(shares) > 0.16 and max(shares) < 0.34


def test_every_order_occurs() -> None:
    assert len({move.order for move in draws()}) == 24


def test_the_order_changes_the_result() -> None:
    move = RandomOrderAffined("x")
    move.drawn = {
        "rotate": np.array([10.0]),
        "translate": np.array([0.1, 0.0]),
        "scale": np.array([1.1]),
        "flip": np.array([False, False]),
    }
    move.order = ("translate", "rotate", "scale", "flip")
    first = move.matrix((100, 100))[:2, 2]
    move.order = ("rotate", "scale", "translate", "flip")
    last = move.matrix((100, 100))[:2, 2]
    np.testing.assert_allclose(last, [10, 0], atol=1e-12)
    np.testing.assert_allclose(first, 11 * np.array([np.cos(np.radians(10)), np.sin(np.radians(10))]), atol=1e-12)


def test_a_shift_moves_by_whole_pixels_and_a_flip_is_exact() -> None:
    image = torch.rand(2, 12, 10, 3)
    shift = np.eye(3)
    shift[:2, 2] = 2, -1
    out = move_image(image, shift, mode="bilinear")
    assert torch.allclose(out[:, 2:, :9], image[:, :-2, 1:], atol=1e-5) and (out[:, :2] < 1e-5).all()
    assert torch.allclose(move_image(image, np.diag([-1.0, 1, 1]), mode="bilinear"), image.flip(1), atol=1e-5)
    assert torch.allclose(move_image(image, np.diag([1, -1.0, 1]), mode="bilinear"), image.flip(2), atol=1e-5)


def test_rotation_and_scale_agree_with_scipy_on_an_oblong_image() -> None:
    image = torch.rand(1, 24, 16)
    angle = np.radians(10)
    matrix = np.eye(3)
    matrix[:2, :2] = 1.1 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back, middle = np.linalg.inv(matrix[:2, :2]), np.array([11.5, 7.5])
    want = ndimage.affine_transform(image[0].numpy(), back, middle - back @ middle, order=1, mode="grid-constant")
    np.testing.assert_allclose(move_image(image, matrix, mode="bilinear")[0].numpy(), want, atol=1e-4)


def test_labels_keep_their_values_and_move_with_the_image() -> None:
    square = torch.zeros(1, 64, 64)
    square[:, 20:30, 34:50] = 1
    move = RandomOrderAffined(("image", "label"), mode=("bilinear", "nearest"))
    move.set_random_state(3)
    out = move({"image": square, "label": square.to(torch.uint8)})
    assert out["label"].dtype == torch.uint8 and set(out["label"].unique().tolist()) == {0, 1}
    assert ((out["image"] > 0.5) == (out["label"] > 0)).float().mean() > 0.99


def test_the_affine_follows_the_voxels() -> None:
    affine = torch.diag(torch.tensor([0.9, 0.9, 5, 1], dtype=torch.float64))
    image = MetaTensor(torch.zeros(1, 21, 21, 2), affine=affine)
    image[0, 14, 6, 0] = 1
    angle = np.radians(90)
    turn = np.array([[np.cos(angle), -np.sin(angle), 1], [np.sin(angle), np.cos(angle), 2], [0, 0, 1]])
    out = move_image(image, turn, mode="nearest")
    i, j = (int(v) for v in np.unravel_index(int(out[0, :, :, 0].argmax()), (21, 21)))
    assert (i, j) == (15, 16)  # (4, -4) from the middle turns to (4, 4), shifted by (1, 2)
    place = out.affine @ torch.tensor([i, j, 0, 1], dtype=torch.float64)
    assert torch.allclose(place, affine @ torch.tensor([14, 6, 0, 1], dtype=torch.float64), atol=1e-9)


def test_a_seed_repeats_and_prob_zero_does_nothing() -> None:
    image = {"x": torch.rand(1, 16, 16, 2)}
    results = []
    for _ in range(2):
        move = RandomOrderAffined("x")
        move.set_random_state(5)
        results.append(move(image)["x"])
    assert torch.equal(*results) and not torch.equal(results[0], image["x"])
    assert RandomOrderAffined("x", prob=0.0)(image)["x"] is image["x"]


def test_the_background_s_value_after_a_z_score_comes_in_from_outside() -> None:
    """A background of 0 is -1.5 after the z-score of an image with mean 3 and deviation 2."""
    image = torch.zeros(2, 16, 16)
    image[:, 6:10, 6:10] = 7.0
    scored = (image - 3) / 2
    shift = np.eye(3)
    shift[0, 2] = 3
    filled = move_image(scored, shift, mode="bilinear", outside="background")
    torch.testing.assert_close(filled, scored.roll(3, dims=1), atol=1e-5, rtol=0)
    assert (move_image(scored, shift, mode="bilinear")[:, :2] == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotate_deg": -1},
        {"translate_frac": 1.0},
        {"scale": (1.1, 0.9)},
        {"flip_prob": 2},
        {"prob": -0.1},
        {"mode": "cubic"},
        {"outside": "ones"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(IslesError, match=rf"E-AUG-01.*not valid.*\n.*RandomOrderAffined(?s:.*){next(iter(wrong))}="):
        RandomOrderAffined("x", **wrong)


def test_images_of_different_size_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-AUG-02.*differ in plane.*\n.*label"):
        RandomOrderAffined(("x", "label"))({"x": torch.zeros(1, 8, 8), "label": torch.zeros(1, 8, 9)})


def test_all_moves_are_known() -> None:
    assert sorted(MOVES) == ["flip", "rotate", "scale", "translate"]


def test_noise_goes_into_the_first_channels_and_stays_inside_the_brain() -> None:
    image = torch.zeros(2, 3, 40, 40)
    image[:, :2, 10:] = torch.randn(2, 2, 30, 40, generator=torch.Generator().manual_seed(1)) * 3 + 5
    image[:, 2] = 1.0
    item = {"image": image.reshape(6, 40, 40)}
    noisy = GrainNoised("image", noise=1.0, channels=2, slices=2, prob=1.0)
    noisy.set_random_state(0)
    change = torch.stack([noisy(item)["image"].reshape(image.shape) - image for _ in range(300)])
    assert (change[:, :, 2] == 0).all() and (change[:, :, :2, :10] == 0).all()
    drawn = change[:, :, :2, 10:].flatten(1).std(1) / 3  # uniform from 0 to 1: mean 1/2, standard deviation 0.29
    assert 0.45 < drawn.mean() < 0.55 and 0.25 < drawn.std() < 0.33 and drawn.max() < 1.1
    assert GrainNoised("image", noise=1.0, channels=2, prob=0.0)(item)["image"] is item["image"]


def test_gain_and_offset_are_those_of_a_map_and_stay_in_range() -> None:
    image = torch.rand(2, 3, 16, 16) + 1.0  # two slices of two maps and a mark
    image[:, :, :4] = 0  # outside the brain
    item = {"image": image.reshape(6, 16, 16)}
    vary = GrainNoised("image", noise=0.0, channels=2, slices=2, gain=0.2, offset=0.3)
    vary.set_random_state(0)
    for _ in range(40):
        new = vary(item)["image"].reshape(image.shape)
        assert torch.equal(new[:, 2], image[:, 2]) and (new[:, :2, :4] == 0).all()
        for channel in range(2):
            x, y = image[:, channel, 4:].flatten(), new[:, channel, 4:].flatten()
            gain, offset = np.polyfit(x, y, 1)  # one line for both slices
            assert torch.allclose(y, gain * x + offset, atol=1e-4)
            assert abs(np.log(gain)) <= 0.2 + 1e-3 and abs(offset) <= 0.3 + 1e-3


@pytest.mark.parametrize("wrong", [{"noise": -1.0}, {"noise": 1.0, "prob": 2.0}, {"noise": 0.0, "gain": -0.1}], ids=str)
def test_noise_below_zero_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(IslesError, match=r"E-AUG-01.*not valid.*\n.*GrainNoised"):
        GrainNoised("image", channels=1, **wrong)
