"""Windows, passes and networks together equal the plain loop over windows, passes and networks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.inference import StepSlidingWindowInferer
from monai_isles.inference.windows import prediction_dropout
from monai_isles.inference.windows_plan import WindowMasks, site_sizes, window_starts
from monai_isles.networks import AsymmetricResUNet

SEED = 11


def plain_loop(
    networks: list[nn.Module], image: torch.Tensor, starts: np.ndarray, roi: tuple[int, ...], passes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of the lesion class: one window, one pass, one network at a time, in float64."""
    seen: list[list[list[float]]] = np.frompyfunc(lambda _: [], 1, 1)(np.zeros(image.shape[2:]))
    flat = roi[2] == 1
    for start, (number, network) in itertools.product(starts, enumerate(networks)):
        place = tuple(slice(a, a + r) for a, r in zip(start.tolist(), roi, strict=True))
        window = image[(slice(None), slice(None), *place)]
        window = window[..., 0] if flat else window
        with torch.no_grad(), prediction_dropout(network, 0.25) as sites:
            for site in sites:
                site.active = passes > 1
            sizes = site_sizes(network, window)
            masks = WindowMasks(sizes, passes, 0.25, SEED + number)
            bits = masks.draw(start[None])
            for turn in range(passes):
                masks.lay(bits, turn, sites)
                lesion = network(window).softmax(1)[0, 1]
                for voxel, value in zip(seen[place].ravel(), lesion.ravel().tolist(), strict=True):
                    voxel.append(value)
    mean = torch.tensor([np.mean(v) if v else 0.0 for v in seen.ravel()]).reshape(image.shape[2:])
    deviation = torch.tensor([np.std(v) if v else 0.0 for v in seen.ravel()]).reshape(image.shape[2:])
    return mean.float(), deviation.float()


@pytest.mark.parametrize(("count", "passes", "batch"), [(1, 1, 16), (1, 3, 5), (3, 1, 4), (3, 2, 7)])
@pytest.mark.parametrize(
    ("dims", "shape", "roi", "step"),
    [(2, (22, 19, 2), (16, 16, 1), (4, 3, 1)), (3, (12, 11, 10), (8, 8, 8), (2, 3, 1))],
    ids=["slices", "volume"],
)
def test_the_fast_path_equals_the_plain_loop(
    dims: int, shape: tuple, roi: tuple, step: tuple, count: int, passes: int, batch: int
) -> None:
    torch.manual_seed(1)
    networks = [AsymmetricResUNet(dims, 2, base_channels=4, levels=3).eval() for _ in range(count)]
    image, mask = torch.randn(1, 2, *shape) * 2, np.zeros(shape, bool)
    mask[8:14, 5:12, :] = True
    inferer = StepSlidingWindowInferer(
        roi[:dims], step[:dims], mc_passes=passes, mc_rate=0.25, batch_size=batch, seed=SEED, cover="touch"
    )
    ours = inferer.infer(image, networks, torch.from_numpy(mask)[None, None])
    mean, deviation = plain_loop(networks, image, window_starts(mask, roi, step, "touch"), roi, passes)
    torch.testing.assert_close(ours.probability[0, 1], mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.uncertainty[0, 0], deviation, atol=1e-3, rtol=0)


def test_the_result_does_not_change_with_the_windows_a_pass() -> None:
    network, image = AsymmetricResUNet(2, 2).eval(), torch.randn(1, 2, 40, 40, 2)
    results = [
        StepSlidingWindowInferer((32, 32), (4, 4), mc_passes=3, batch_size=b)(image, network) for b in (1, 4, 32)
    ]
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], atol=1e-6, rtol=0)


def test_without_a_seed_every_prediction_draws_its_own_and_leaves_torchs_state_usable() -> None:
    network, image = AsymmetricResUNet(2, 2).eval(), torch.randn(1, 2, 16, 16, 1)
    inferer = StepSlidingWindowInferer((16, 16), (16, 16), mc_passes=2, seed=None)
    torch.manual_seed(5)
    first, second = inferer(image, network), inferer(image, network)
    torch.manual_seed(5)
    assert torch.equal(first, inferer(image, network)) and not torch.equal(first, second)


@pytest.mark.parametrize("size", [(64, 48), (50, 41)])
def test_whole_slices_are_one_pass_over_each_slice_with_brain(size: tuple[int, int]) -> None:
    network, image = AsymmetricResUNet(2, 2).eval(), torch.randn(1, 2, *size, 3)
    brain = torch.zeros(1, 1, *size, 3)
    brain[..., 10:20, 10:20, :2] = 1
    ours = StepSlidingWindowInferer((32, 32), (3, 3), whole_slices=True).infer(image, network, brain)
    padded = torch.zeros(1, 2, 48, 48, 3)  # the brain ends at 20, half a window is 16: 36 voxels, filled up to 48
    padded[:, :, :36, :36] = image[:, :, :36, :36]
    with torch.no_grad():
        plain = torch.stack([network(padded[..., k]).softmax(1) for k in range(2)], -1)[:, :, :36, :36]
    assert ours.windows == 2 and ours.probability.shape[2:] == (*size, 3)
    torch.testing.assert_close(ours.probability[:, :, :36, :36, :2], plain, atol=1e-5, rtol=0)
    assert not ours.probability[..., 2].any() and not ours.probability[:, :, 36:].any()


def test_whole_slices_of_a_network_of_volumes_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-INF-42: a network of volumes(?s:.*)\[8, 8, 8\](?s:.*)larger step"):
        StepSlidingWindowInferer((8, 8, 8), (4, 4, 4), whole_slices=True)


def test_compiled_whole_slices_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-INF-44: only windows are compiled(?s:.*)leave one of the two out"):
        StepSlidingWindowInferer((8, 8), (4, 4), whole_slices=True, compiled=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_networks_without_a_folded_form_go_through_the_same_windows(precision: str) -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.zeros_like(x[:, :1]), x[:, :1] * 2, -x[:, :1]], 1)

    image = torch.randn(1, 1, 12, 12, 3)
    ours = StepSlidingWindowInferer((8, 8), (3, 3), precision=precision)(image, Plain())
    wanted = torch.cat([torch.zeros_like(image), image * 2, -image], 1).softmax(1)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
