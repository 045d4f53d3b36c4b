"""The windows that reach the brain give it the average over all windows, and are counted before they run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.inference import StepSlidingWindowInferer
from monai_isles.inference.windows_plan import grid_axis, window_starts, windows_at_once
from monai_isles.networks import AsymmetricResUNet


class PlaceSensitive(nn.Module):
    """Logits that depend on where in the window a voxel lies, so leaving a window out shows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-2, 2, x[0, 0].numel()).reshape(x.shape[2:])
        return torch.cat([torch.zeros_like(x[:, :1]), x[:, :1] * ramp + x.mean((2, 3, 4), keepdim=True)[:, :1]], 1)


def ball(shape: tuple[int, int, int], radius: float, middle: tuple[float, float, float]) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum((a - m) ** 2 for a, m in zip(axes, middle, strict=True)) <= radius**2


def average_over_all_windows(image: torch.Tensor, network: nn.Module, roi, step) -> torch.Tensor:
    """The plain loop: every window of the grid alone, whatever it holds."""
    total, count = torch.zeros(2, *image.shape[2:]), torch.zeros(image.shape[2:])
    firsts = []
    for size, width, hop in zip(image.shape[2:], roi, step, strict=True):
        places = [cell * hop + hop // 2 - width // 2 for cell in range((size + hop - 1) // hop)]
        firsts.append(sorted({min(max(place, 0), size - width) for place in places}))
    with torch.no_grad():
        for i, j, k in itertools.product(*firsts):
            at = (slice(i, i + roi[0]), slice(j, j + roi[1]), slice(k, k + roi[2]))
            total[(slice(None), *at)] += network(image[(slice(None), slice(None), *at)]).softmax(1)[0]
            count[at] += 1
    return total / count


@pytest.mark.parametrize("step", [(4, 4, 1), (5, 3, 4), (8, 8, 8)])
def test_on_the_brain_the_windows_that_touch_it_average_like_all_windows(step: tuple[int, int, int]) -> None:
    shape, roi = (31, 34, 20), (8, 8, 8)
    image, brain = torch.randn(1, 1, *shape), ball(shape, 7.0, (13, 17, 9))
    ours = StepSlidingWindowInferer(roi, step, batch_size=16, cover="touch").infer(
        image, PlaceSensitive(), torch.from_numpy(brain)[None, None]
    )
    everything = average_over_all_windows(image, PlaceSensitive(), roi, step)
    torch.testing.assert_close(ours.probability[0][:, brain], everything[:, brain], atol=1e-5, rtol=0)
    assert ours.windows < len(window_starts(np.ones_like(brain), roi, step, "touch"))


def test_the_networks_own_windows_average_the_same_whatever_the_pass_holds() -> None:
    network, image = AsymmetricResUNet(3, 2, base_channels=4, levels=3).eval(), torch.randn(1, 2, 20, 20, 12)
    brain = ball((20, 20, 12), 3.0, (10, 10, 6))
    inferer = StepSlidingWindowInferer((8, 8, 8), (4, 4, 2), batch_size=5, cover="touch")
    ours = inferer(image, network, torch.from_numpy(brain)[None, None])
    everything = average_over_all_windows(image, network, (8, 8, 8), (4, 4, 2))
    torch.testing.assert_close(ours[0][:, brain], everything[:, brain], atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", [(1, 1, 1), (4, 4, 1), (3, 5, 7)])
def test_a_window_runs_exactly_when_its_box_holds_brain(step: tuple[int, int, int]) -> None:
    shape, roi = (21, 26, 17), (8, 8, 7)
    brain = ball(shape, 4.5, (5, 14, 9))
    brain[20, 25, 16] = True
    grid = itertools.product(*(grid_axis(*sizes) for sizes in zip(shape, roi, step, strict=True)))
    held = [s for s in grid if brain[tuple(slice(a, a + r) for a, r in zip(s, roi, strict=True))].any()]
    np.testing.assert_array_equal(window_starts(brain, roi, step, "touch"), np.array(held))


def test_windows_centred_on_the_brain_are_among_those_that_touch_it() -> None:
    brain = ball((40, 40, 30), 9, (20, 18, 15))
    near, centred = ({tuple(s) for s in window_starts(brain, (8, 8, 8), (4, 4, 1), c)} for c in ("touch", "centre"))
    assert centred < near and len(window_starts(brain, (8, 8, 8), (4, 4, 1))) == len(centred)


def test_the_grid_of_a_volume_is_counted_by_hand() -> None:
    assert grid_axis(20, 8, 4).tolist() == [0, 2, 6, 10, 12]  # cells 0-3 and 16-19 are shifted inwards
    for make, windows in ((np.ones, 5 * 5 * 2), (np.zeros, 0)):
        assert len(window_starts(make((20, 20, 9), bool), (8, 8, 8), (4, 4, 1), "touch")) == windows


def test_an_empty_brain_gives_nothing_but_zeros() -> None:
    inferer = StepSlidingWindowInferer((8, 8, 8), (4, 4, 4), cover="touch")
    result = inferer.infer(torch.randn(1, 1, 16, 16, 16), PlaceSensitive(), torch.zeros(1, 1, 16, 16, 16))
    assert result.windows == 0 and not result.probability.any() and result.probability.shape == (1, 2, 16, 16, 16)


def test_a_pass_holds_as_many_windows_as_the_memory_bears() -> None:
    network, window = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 2, 1)), torch.zeros(1, 1, 10, 10, 10)
    bytes_a_window = 1000 * 4 * (1 + 4 + 2)  # float32: the window and what both layers put out
    assert windows_at_once(network, window, most=16, memory_mb=5.5 * bytes_a_window / 1e6) == 5
    assert windows_at_once(network, window, most=16, memory_mb=1e6) == 16
    assert windows_at_once(network, window, most=16, memory_mb=1e-6) == 1


def test_the_memory_limit_changes_the_passes_but_not_the_result() -> None:
    network, image = AsymmetricResUNet(3, 1, base_channels=4, levels=3).eval(), torch.randn(1, 1, 16, 16, 16)
    plain = StepSlidingWindowInferer((8, 8, 8), (4, 4, 4)).infer(image, network)
    tight = StepSlidingWindowInferer((8, 8, 8), (4, 4, 4), memory_mb=0.2).infer(image, network)
    torch.testing.assert_close(tight.probability, plain.probability, atol=1e-6, rtol=0)


def test_sixteen_bits_stay_near_the_full_precision() -> None:
    network, image = AsymmetricResUNet(3, 1, base_channels=4, levels=3).eval(), torch.randn(1, 1, 16, 16, 16)
    full, half = (
        StepSlidingWindowInferer((8, 8, 8), (8, 8, 8), precision=p).infer(image, network) for p in ("fp32", "bf16")
    )
    assert half.probability.dtype == torch.float32
    assert 0 < float((full.probability - half.probability).abs().max()) < 0.05


def test_another_choice_of_windows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(IslesError, match=r"E-INF-20.*not known(?s:.*)'all'(?s:.*)centre, touch"):
        StepSlidingWindowInferer((8, 8, 8), (4, 4, 4), cover="all")
