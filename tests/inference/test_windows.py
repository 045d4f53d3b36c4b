"""Windows lie at the exact step, only on the brain, and their average is the plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.inference import StepSlidingWindowInferer
from monai_isles.inference.windows import prediction_dropout
from monai_isles.inference.windows_plan import window_starts
from monai_isles.networks import AsymmetricResUNet


class PerVoxel(nn.Module):
    """Logits that depend on the voxel alone, so every window agrees about it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x[:, :1]), x[:, :1]], 1)


def brain(shape: tuple[int, ...] = (48, 40, 3)) -> torch.Tensor:
    mask = torch.zeros(1, 1, *shape)
    mask[..., 14:34, 12:30, :] = 1
    return mask


@pytest.mark.parametrize("step", [1, 3, 4, 5, 7])
def test_neighbouring_windows_are_exactly_one_step_apart(step: int) -> None:
    starts = window_starts(brain()[0, 0].numpy() > 0, (16, 16, 1), (step, step, 1))
    for axis in (0, 1):
        gaps = np.diff(np.unique(starts[:, axis]))
        assert (gaps == step).all() and len(gaps)


@pytest.mark.parametrize("step", [3, 8, 16])
def test_every_brain_voxel_is_covered_and_no_window_lies_off_the_brain(step: int) -> None:
    mask = np.zeros((48, 40, 3), bool)
    mask[2, 3, 0] = mask[46, 39, 2] = mask[20:30, 11:23, 1] = True
    covered = np.zeros_like(mask)
    for i, j, k in window_starts(mask, (16, 16, 1), (step, step, 1)):
        covered[i : i + 16, j : j + 16, k] = True
        assert mask[i : i + 16, j : j + 16, k].any()
    assert covered[mask].all()


def test_a_network_that_looks_at_single_voxels_gives_its_own_softmax() -> None:
    image = torch.randn(2, 3, 48, 40, 3)
    mask = brain().expand(2, 1, 48, 40, 3)
    result = StepSlidingWindowInferer((16, 16), (5, 5)).infer(image, PerVoxel(), mask)
    inside = mask[:, 0] > 0
    torch.testing.assert_close(result.probability[:, 1][inside], image[:, 0][inside].sigmoid(), atol=1e-6, rtol=0)
    assert float(result.uncertainty[mask > 0].max()) < 1e-3
    assert not result.probability[:, :, 0, 0].any()


def test_the_average_equals_a_plain_loop_over_windows() -> None:
    network, image, mask = AsymmetricResUNet(2, 3).eval(), torch.randn(1, 3, 48, 40, 1), brain((48, 40, 1))
    total, count = torch.zeros(2, 48, 40), torch.zeros(48, 40)
    with torch.no_grad():
        for i, j, _ in window_starts(mask[0, 0].numpy() > 0, (16, 16, 1), (4, 4, 1)):
            total[:, i : i + 16, j : j + 16] += network(image[:, :, i : i + 16, j : j + 16, 0]).softmax(1)[0]
            count[i : i + 16, j : j + 16] += 1
    ours = StepSlidingWindowInferer((16, 16), (4, 4), batch_size=7)(image, network, mask)
    torch.testing.assert_close(ours[0, ..., 0], total / count.clamp_min(1), atol=1e-6, rtol=0)


def test_three_dimensional_windows_serve_three_dimensional_networks() -> None:
    image = torch.randn(1, 1, 24, 24, 16)
    probability = StepSlidingWindowInferer((8, 8, 8), (4, 4, 1))(image, PerVoxel())
    torch.testing.assert_close(probability[0, 1], image[0, 0].sigmoid(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("slices", [1, 2, 22])
def test_any_number_of_slices_goes_through(slices: int) -> None:
    network = AsymmetricResUNet(2, 2).eval()
    inferer = StepSlidingWindowInferer((32, 32), (16, 16), mc_passes=2, uncertainty=True)
    assert inferer(torch.randn(1, 2, 64, 48, slices), network).shape == (1, 3, 64, 48, slices)


def test_passes_differ_by_dropout_alone_and_repeat_with_the_seed() -> None:
    network, image = AsymmetricResUNet(2, 3).eval(), torch.randn(1, 3, 32, 32, 1)
    one = StepSlidingWindowInferer((32, 32), (32, 32)).infer(image, network)
    noisy = StepSlidingWindowInferer((32, 32), (32, 32), mc_passes=3)
    first, second = noisy.infer(image, network), noisy.infer(image, network)
    assert float(one.uncertainty.max()) < 1e-3 < float(first.uncertainty.max())
    torch.testing.assert_close(first.probability, second.probability)
    silent = StepSlidingWindowInferer((32, 32), (32, 32), mc_passes=3, mc_rate=0.0).infer(image, network)
    torch.testing.assert_close(silent.probability, one.probability, atol=1e-6, rtol=0)


def test_prediction_dropout_leaves_the_rest_of_the_network_in_evaluation() -> None:
    network = AsymmetricResUNet(2, 3).eval()
    with prediction_dropout(network, 0.5):
        assert not any(m.training for m in network.modules())
        a, b = network(torch.ones(1, 3, 32, 32)), network(torch.ones(1, 3, 32, 32))
    assert not torch.equal(a, b)
    assert torch.equal(network(torch.ones(1, 3, 32, 32)), network(torch.ones(1, 3, 32, 32)))


def test_an_ensemble_is_the_mean_of_its_networks() -> None:
    networks = [AsymmetricResUNet(2, 3).eval() for _ in range(2)]
    image, inferer = torch.randn(1, 3, 48, 48, 1), StepSlidingWindowInferer((32, 32), (8, 8))
    together = inferer.infer(image, networks)
    each = [inferer.infer(image, n) for n in networks]
    torch.testing.assert_close(together.probability, (each[0].probability + each[1].probability) / 2)
    assert float(together.uncertainty.mean()) >= min(float(e.uncertainty.mean()) for e in each)


def test_a_network_without_sites_cannot_drop() -> None:
    with pytest.raises(IslesError, match="E-INF-01.*\n.*PerVoxel"):
        StepSlidingWindowInferer((8, 8), (4, 4), mc_passes=3)(torch.zeros(1, 1, 8, 8, 1), PerVoxel())


@pytest.mark.parametrize(
    ("code", "roi", "step"),
    [
        ("E-INF-02", (64, 64), (3, 3)),
        ("E-INF-03", (8, 8), (9, 9)),
        ("E-INF-03", (8, 8), (0, 1)),
        ("E-INF-03", (8, 8), (1.5, 2)),
    ],
)
def test_windows_that_cannot_work_are_refused(code: str, roi: tuple[int, int], step: tuple[float, float]) -> None:
    with pytest.raises(IslesError, match=code):
        StepSlidingWindowInferer(roi, step)(torch.zeros(1, 1, 32, 32, 1), PerVoxel())


def test_settings_of_different_lengths_are_refused() -> None:
    with pytest.raises(IslesError, match="E-INF-04"):
        StepSlidingWindowInferer((8, 8, 8), (4, 4))


def test_the_networks_of_an_ensemble_draw_masks_of_their_own() -> None:
    """Two copies of one network differ from it alone by the second one's masks; without passes they do not."""
    torch.manual_seed(0)
    network = AsymmetricResUNet(2, 2, base_channels=4, levels=3).eval()
    image = torch.randn(1, 2, 16, 16, 1)
    for passes, alike in ((1, True), (2, False)):
        inferer = StepSlidingWindowInferer((16, 16), (16, 16), mc_passes=passes, mc_rate=0.3, seed=5)
        alone = inferer.infer(image, network)
        twice = inferer.infer(image, [network, network])
        assert torch.allclose(alone.probability, twice.probability, atol=1e-6) == alike
        assert torch.equal(inferer.infer(image, [network]).probability, alone.probability)


def test_masked_probabilities_are_background_outside_the_brain_alone() -> None:
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(2, 2, base_channels=2, levels=2).eval(), torch.randn(1, 2, 16, 16, 1)
    brain = torch.zeros(1, 1, 16, 16, 1)
    brain[:, :, 4:9, 4:9] = 1
    plain, masked = (
        StepSlidingWindowInferer((8, 8), (4, 4), masked=masked).infer(image, network, brain) for masked in (False, True)
    )
    inside = brain[:, 0] > 0
    assert torch.equal(plain.probability[:, 1][inside], masked.probability[:, 1][inside])
    assert (plain.probability[:, 1][~inside] > 0).any()
    assert not masked.probability[:, 1][~inside].any() and (masked.probability[:, 0][~inside] == 1).all()


def test_one_number_is_the_step_of_every_axis() -> None:
    assert StepSlidingWindowInferer(roi_size=(8, 8), step=4).step == StepSlidingWindowInferer((8, 8), (4, 4)).step
