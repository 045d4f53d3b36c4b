"""The backbone is the ResNet that the ecosystem's weights were trained in, at an eighth of the resolution."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import ResNet, ResNetBottleneck
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks.pspnet import DEPTHS, DilatedResNet


def with_lively_statistics(network: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=random) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=random) + 4)
    return network.eval()


@pytest.mark.parametrize(("backbone", "parameters", "tensors"), [
    ("resnet50", 25_557_032 - 2_049_000, 320 - 2), ("resnet101", 44_549_160 - 2_049_000, 626 - 2),
])  # fmt: skip
def test_sizes_are_torchvisions_without_its_classifier(backbone: str, parameters: int, tensors: int) -> None:
    network = DilatedResNet(backbone)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == tensors
    names = {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer1.0.downsample.1.bias"}
    assert names | {f"layer3.{DEPTHS[backbone][2] - 1}.conv3.weight"} <= network.state_dict().keys()


def test_without_dilation_it_computes_what_monais_resnet_computes_from_the_same_weights() -> None:
    theirs = ResNet(
        ResNetBottleneck, list(DEPTHS["resnet50"]), [4, 8, 16, 32], spatial_dims=2, n_input_channels=3,
        conv1_t_stride=2, feed_forward=False, bias_downsample=False,
    )  # fmt: skip
    with_lively_statistics(theirs)
    ours = DilatedResNet("resnet50", 4, output_stride=32).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 70, 96)
    torch.testing.assert_close(ours(x).mean((2, 3)), theirs(x))


def test_every_fourth_value_of_the_dilated_map_is_the_strided_networks() -> None:
    dilated = with_lively_statistics(DilatedResNet("resnet50", 4))
    strided = DilatedResNet("resnet50", 4, output_stride=32).eval()
    strided.load_state_dict(dilated.state_dict())
    x = torch.randn(1, 3, 96, 70)
    assert dilated(x).shape == (1, 128, 12, 9)
    torch.testing.assert_close(dilated(x)[..., ::4, ::4], strided(x))


def test_the_first_block_of_a_dilated_layer_follows_the_choice() -> None:
    for first, expected in ((False, [1, 2, 2, 2, 2, 2, 2, 4, 4]), (True, [2, 2, 2, 2, 2, 2, 4, 4, 4])):
        network = DilatedResNet("resnet50", 4, dilate_first=first)
        blocks = [*network.layer3, *network.layer4]
        assert [b.conv2.dilation[0] for b in blocks] == expected
        assert all(b.conv2.padding == b.conv2.dilation and b.conv2.stride == (1, 1) for b in blocks)


@pytest.mark.parametrize(("stem", "shapes"), [
    ("deep64", [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]),
    ("deep128", [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3)]),
])  # fmt: skip
def test_deep_stems_have_the_shapes_of_their_families(stem: str, shapes: list[tuple[int, ...]]) -> None:
    network = DilatedResNet("resnet50", stem=stem)
    assert [tuple(network.state_dict()[f"conv{i}.weight"].shape) for i in (1, 2, 3)] == shapes
    assert network.layer1[0].conv1.in_channels == shapes[-1][0]
    small = DilatedResNet("resnet50", 4, stem=stem)
    assert small(torch.randn(2, 3, 33, 47)).shape == (2, 128, 5, 6)


@pytest.mark.parametrize(
    "bad", [{"backbone": "resnet18"}, {"stem": "wide"}, {"base_channels": 1}, {"output_stride": 4}]
)
def test_another_backbone_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(IslesError, match="E-NET-21"):
        DilatedResNet(**bad)
