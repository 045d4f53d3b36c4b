"""Weights in the ecosystem's namings fill the backbone, or are refused; what was used is known."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.io.weights import publish_state
from monai_isles.networks import PSPNet
from monai_isles.networks.pretrained import Report, load_pretrained
from monai_isles.networks.pspnet import DilatedResNet

State = dict[str, Tensor]


def donor(**options: object) -> PSPNet:
    """A network of 21 classes for three channels in which no two tensors are alike."""
    network = PSPNet(3, 21, base_channels=4, **options)
    random = torch.Generator().manual_seed(1)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=random) + 0.5)
    return network


def as_torchvision(network: PSPNet) -> State:
    return network.backbone.state_dict() | {"fc.weight": torch.zeros(1000, 128), "fc.bias": torch.zeros(1000)}


def as_torchvision_segmentation(network: PSPNet) -> State:
    heads = {"classifier.0.weight": torch.zeros(5, 128, 3, 3), "aux_classifier.4.bias": torch.zeros(21)}
    return {f"backbone.{k}": v for k, v in network.backbone.state_dict().items()} | heads


def as_semseg(network: PSPNet, *, stem: dict[str, str], head: str = "cls") -> State:
    parts = {"conv": "1", "norm": "2"}
    out: State = {}
    for name, value in network.state_dict().items():
        room, _, rest = name.partition(".")
        if room == "backbone" and (first := rest.split(".")[0]) in stem:
            out[f"layer0.{stem[first]}.{rest.split('.')[1]}"] = value
        elif room == "backbone":
            out[rest] = value
        elif room == "pyramid":
            _, index, part, leaf = rest.split(".")
            out[f"ppm.features.{index}.{parts[part]}.{leaf}"] = value
        elif room == "final":
            part, leaf = rest.split(".")
            out[f"{head}.{'0' if part == 'conv' else '1'}.{leaf}"] = value
        elif room == "classifier":
            out[f"{head}.4.{rest}"] = value
    return out | {"aux.0.weight": torch.zeros(2, 2, 3, 3)}


def as_mmseg(network: PSPNet) -> State:
    semseg = as_semseg(network, stem=DEEP, head="cls")
    words = [("layer0.", "backbone.stem."), ("layer", "backbone.layer"), ("cls.0.", "decode_head.bottleneck.conv."),
             ("cls.1.", "decode_head.bottleneck.bn."), ("cls.4.", "decode_head.conv_seg."),
             ("aux.0.", "auxiliary_head.convs.0.conv.")]  # fmt: skip
    out: State = {}
    for name, value in semseg.items():
        if name.startswith("ppm"):
            _, _, index, part, leaf = name.split(".")
            out[f"decode_head.psp_modules.{index}.1.{'conv' if part == '1' else 'bn'}.{leaf}"] = value
        else:
            old, new = next(word for word in words if name.startswith(word[0]))
            out[new + name.removeprefix(old)] = value
    return out


SINGLE = {"conv1": "0", "bn1": "1"}
DEEP = {"conv1": "0", "bn1": "1", "conv2": "3", "bn2": "4", "conv3": "6", "bn3": "7"}


def loaded(network: PSPNet, source: PSPNet) -> set[str]:
    """Names of the tensors that equal the donor's."""
    theirs = source.state_dict()
    return {n for n, v in network.state_dict().items() if v.is_floating_point() and v.shape == theirs[n].shape
            and torch.equal(v, theirs[n])}  # fmt: skip


def rooms(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("wrap", ["", "module."])
@pytest.mark.parametrize("naming", [as_torchvision, as_torchvision_segmentation])
def test_a_resnet_fills_the_backbone_and_nothing_else(naming, wrap: str, tmp_path: Path) -> None:
    source = donor()
    publish_state(tmp_path / "w.pt", {wrap + k: v for k, v in naming(source).items()})
    network = PSPNet(weights=tmp_path / "w.pt", base_channels=4)
    backbone = {n for n, v in network.state_dict().items() if n.startswith("backbone.") and v.is_floating_point()}
    assert loaded(network, source) == backbone
    parameters = [n for n, _ in network.named_parameters()]
    assert network.pretrained == tuple(n for n in parameters if n.startswith("backbone."))
    assert f"weights: {len(network.pretrained)} of {len(parameters)} from a file" in repr(network)


Load = Callable[[nn.Module, object], Report]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a dictionary into a network through a file."""

    def load_from_file(network: nn.Module, state: object) -> Report:
        torch.save(state, tmp_path / "given.pt")
        return load_pretrained(network, tmp_path / "given.pt")

    return load_from_file


@pytest.mark.parametrize(("stem", "names"), [("single", SINGLE), ("deep128", DEEP), ("deep64", DEEP)])
@pytest.mark.parametrize("head", ["cls", "final"])
def test_a_pspnet_of_21_classes_leaves_only_initializer_and_classifier_new(
    load: Load, stem: str, names: dict, head: str
) -> None:
    source = donor(stem=stem)
    state = {"epoch": 50, "state_dict": {f"module.{k}": v for k, v in as_semseg(source, stem=names, head=head).items()}}
    network = PSPNet(base_channels=4, stem=stem)
    report = load(network, state)
    assert rooms(loaded(network, source)) == rooms(set(report["matched"])) == {"backbone", "pyramid", "final"}
    assert report["missing"] == report["unexpected"] == report["wrong_shape"] == []
    assert len(report["matched"]) == len(loaded(network, source))


def test_mmsegmentation_names_are_understood(load: Load) -> None:
    source, network = donor(stem="deep64"), PSPNet(base_channels=4, stem="deep64")
    report = load(network, {"meta": {}, "state_dict": as_mmseg(source)})
    assert rooms(loaded(network, source)) == {"backbone", "pyramid", "final"}
    assert report["missing"] == report["unexpected"] == []


def test_a_stem_nested_in_conv1_is_understood(load: Load) -> None:
    source, network = donor(stem="deep64"), PSPNet(base_channels=4, stem="deep64")
    places = {
        "conv1": "conv1.0",
        "bn1": "conv1.1",
        "conv2": "conv1.3",
        "bn2": "conv1.4",
        "conv3": "conv1.6",
        "bn3": "bn1",
    }
    state = {}
    for name, value in source.backbone.state_dict().items():
        first, _, rest = name.partition(".")
        state[f"{places.get(first, first)}.{rest}"] = value
    load(network, state)
    assert len(loaded(network, source)) == sum(v.is_floating_point() for v in state.values())


def test_our_own_weights_of_another_task_keep_initializer_and_classifier_new(load: Load) -> None:
    source, network = PSPNet(5, 1, base_channels=4), PSPNet(base_channels=4)
    nn.init.constant_(source.initializer.conv.weight, 7.0)
    report = load(network, {"epoch": 3, "objects": {"network": source.state_dict()}})
    assert rooms(set(report["matched"])) == {"backbone", "pyramid", "final"} and report["missing"] == []
    assert not bool((network.initializer.conv.weight == 7).any())


def test_the_report_names_what_is_missing_unexpected_and_of_another_shape(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    state = as_semseg(donor(), stem=SINGLE) | {"extra.weight": torch.zeros(1)}
    state["cls.0.weight"] = state["cls.0.weight"][:3]
    del state["ppm.features.3.1.weight"]
    with caplog.at_level(logging.INFO, logger="monai_isles.networks.pretrained"):
        report = load(PSPNet(base_channels=4), state)
    assert report["missing"] == ["pyramid.branches.3.conv.weight"]
    assert report["unexpected"] == ["extra.weight"] and report["wrong_shape"] == ["final.conv.weight"]
    assert "1 missing (pyramid.branches.3.conv.weight); 1 unexpected (extra.weight)" in caplog.text


def test_less_than_the_whole_backbone_is_refused_with_counts_and_names_and_nothing_is_loaded(load: Load) -> None:
    state, network = as_torchvision(donor()), PSPNet(base_channels=4)
    del state["layer4.2.bn3.running_var"], state["layer1.0.conv1.weight"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    words = r"E-NET-22.*\n.*given.pt\n.*263 of 265 tensors matched; 2 missing \(backbone.layer1.0.conv1.weight, "
    with pytest.raises(IslesError, match=words):
        load(network, state)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_weights_of_another_width_or_network_are_refused(load: Load, tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-NET-22.*\n.*\n.*0 of 265 .* 265 wrong of shape \(backbone.conv1.weight"):
        load(PSPNet(base_channels=4), DilatedResNet(base_channels=6).state_dict())
    publish_state(tmp_path / "other.pt", nn.Linear(2, 2).state_dict())
    with pytest.raises(IslesError, match=r"E-NET-22.*\n.*other.pt\n.*0 of 265 tensors matched; 265 missing"):
        PSPNet(weights=str(tmp_path / "other.pt"), base_channels=4)


@pytest.mark.parametrize("options", [{"backbone": "resnet101"}, {"stem": "deep64"}])
def test_a_deeper_backbone_is_refused_instead_of_half_used(load: Load, options: dict[str, str]) -> None:
    state = DilatedResNet(options.get("backbone", "resnet50"), 4, stem=options.get("stem", "single")).state_dict()
    with pytest.raises(IslesError, match=r"E-NET-23.*\n.*\n.*tensors that this backbone has not \((layer3.6|conv2)"):
        load(PSPNet(base_channels=4), state)


@pytest.mark.parametrize("state", [{}, {"state_dict": {"epoch": 3}}])
def test_a_file_without_tensors_is_refused(load: Load, state: dict[str, object]) -> None:
    with pytest.raises(IslesError, match="E-NET-24.*\n.*\n.*a dict without tensors"):
        load(PSPNet(base_channels=2), state)


def test_from_scratch_is_said() -> None:
    network = PSPNet(base_channels=2)
    assert network.pretrained == () and "weights: from scratch" in repr(network)
