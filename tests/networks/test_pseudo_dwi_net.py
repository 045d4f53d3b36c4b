"""The pseudo-DWI network routes its channels as drawn, trains end to end or part by part, and exports."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import PseudoDWINet, RonnebergerUNet, SLNet
from monai_isles.networks.blocks import PseudoDWIOutput


def image(network: PseudoDWINet, batch: int = 1, size: tuple[int, int] = (32, 32)) -> torch.Tensor:
    return torch.randn(batch, network.in_channels, *size, generator=torch.Generator().manual_seed(0))


def test_it_is_made_of_the_papers_networks() -> None:
    with torch.device("meta"):
        network, segmenter = PseudoDWINet(), SLNet(1)
        unet = RonnebergerUNet(6, 1)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.parts().items()}
    size = sum(p.numel() for p in unet.parameters())
    assert list(counts) == ["extractor", "generator", "context_encoder", "segmenter"]
    assert counts["extractor"] == counts["generator"] == size
    assert counts["segmenter"] == sum(p.numel() for p in segmenter.parameters())


@pytest.mark.parametrize(
    ("low", "high", "channels", "seen"), [(0, 0, 4, 4), (1, 0, 5, 5), (0, 1, 10, 5), (1, 1, 11, 6)]
)
def test_each_row_of_table_5_has_its_own_inputs(low: int, high: int, channels: int, seen: int) -> None:
    network = PseudoDWINet(low_level=bool(low), high_level=bool(high), base_channels=2, return_aux=True)
    assert network.in_channels == channels
    entered: list[torch.Tensor] = []
    network.generator.register_forward_hook(lambda m, i, o: entered.append(i[0]))
    x = image(network)
    logits, pseudo_dwi, extracted, maps = network(x)
    assert torch.equal(maps, x[:, :4])
    assert logits.shape == (1, 2, 32, 32) and pseudo_dwi.shape == (1, 1, 32, 32)
    assert entered[0].shape[1] == seen
    assert torch.equal(entered[0][:, : 4 + low], x[:, : 4 + low])
    if high:
        assert torch.equal(entered[0][:, -1:], extracted)
        torch.testing.assert_close(extracted, network.extractor(x[:, -6:]))
    else:
        assert extracted is None and "extractor" not in network.parts()


def test_the_segmenter_sees_the_pseudo_dwi_alone_or_with_the_maps() -> None:
    for with_maps in (False, True):
        network = PseudoDWINet(with_maps=with_maps, base_channels=2, return_aux=True)
        entered: list[torch.Tensor] = []
        network.segmenter.register_forward_hook(lambda m, i, o, entered=entered: entered.append(i[0]))
        x = image(network)
        output = network(x)
        assert torch.equal(entered[0][:, -1:], output.pseudo_dwi)
        assert entered[0].shape[1] == (5 if with_maps else 1)
        assert not with_maps or torch.equal(entered[0][:, :4], x[:, :4])


def test_another_segmenter_takes_slnets_place_and_the_context_encoder_may_be_left_out() -> None:
    segmenter = RonnebergerUNet(1, 2, base_channels=2)
    network = PseudoDWINet(segmenter=segmenter, contextual=False, base_channels=2)
    assert network.segmenter is segmenter and list(network.parts()) == ["extractor", "generator", "segmenter"]


@pytest.mark.parametrize("size", [(240, 200), (33, 17), (1, 1)])
def test_any_slice_alone_in_its_batch_gives_images_of_its_size(size: tuple[int, int]) -> None:
    network = PseudoDWINet(base_channels=2, return_aux=True)
    output = network(image(network, size=size))
    assert isinstance(output, PseudoDWIOutput)
    assert [tuple(o.shape[2:]) for o in output] == [size] * 4


def test_a_loss_on_the_segmentation_alone_reaches_extractor_generator_and_segmenter() -> None:
    torch.manual_seed(0)
    network = PseudoDWINet(base_channels=4)
    logits = network(image(network, batch=2))
    nn.functional.cross_entropy(logits, torch.ones(2, 32, 32, dtype=torch.long)).backward()
    for name in ("extractor", "generator", "segmenter"):
        weights = [p for p in network.parts()[name].parameters() if p.ndim == 4]
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in weights), name
    assert all(p.grad is None for p in network.context_encoder.parameters())


def test_a_loss_on_the_contexts_reaches_the_encoder_too() -> None:
    network = PseudoDWINet(base_channels=2, return_aux=True)
    output = network(image(network))
    contexts = [network.context_encoder(i) for i in (output.pseudo_dwi, torch.rand(1, 1, 32, 32))]
    (contexts[0] - contexts[1]).abs().sum().backward()
    for name in ("context_encoder", "generator", "extractor"):
        assert any(p.grad is not None and p.grad.any() for p in network.parts()[name].parameters()), name


def test_a_frozen_part_keeps_weights_and_statistics_while_another_trains() -> None:
    network = PseudoDWINet(base_channels=2)
    network.train_only("segmenter")
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(image(network, batch=2)).square().mean().backward()
    optimiser.step()
    changed = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"segmenter"}
    assert any("running_mean" in n and not torch.equal(v, before[n]) for n, v in network.state_dict().items())


def test_parts_are_freed_again_and_several_train_together() -> None:
    network = PseudoDWINet(base_channels=2)
    network.train_only("generator", "context_encoder")
    assert {n for n, part in network.parts().items() if part.training} == {"generator", "context_encoder"}
    network.train_only()
    assert all(part.training for part in network.parts().values())
    assert all(p.requires_grad for p in network.parameters())
    network.eval().train_only("extractor")
    assert not any(part.training for part in network.parts().values())


@pytest.mark.parametrize("settings", [{}, {"high_level": False, "low_level": False, "with_maps": True}])
def test_the_network_survives_torchscript(settings: dict[str, bool]) -> None:
    for aux in (False, True):
        network = PseudoDWINet(base_channels=2, return_aux=aux, **settings).eval()
        x = image(network, batch=2, size=(30, 17))
        expected, found = network(x), torch.jit.script(network)(x)
        for one, other in zip(expected if aux else [expected], found if aux else [found], strict=True):
            assert one is other is None or torch.equal(one, other)


def test_an_impossible_network_is_refused() -> None:
    with pytest.raises(
        IslesError, match="E-NET-46: sizes of the pseudo-DWI network are not valid\n.*PseudoDWINet\n.*maps 0"
    ):
        PseudoDWINet(maps=0)


def test_an_input_of_other_channels_is_refused() -> None:
    with pytest.raises(IslesError, match="E-NET-47: input has other channels.*\n.*\n.*10 channels; 11 are 4 maps, 1"):
        PseudoDWINet(base_channels=2)(torch.zeros(1, 10, 16, 16))


def test_a_part_that_is_not_there_cannot_be_trained() -> None:
    network = PseudoDWINet(high_level=False, base_channels=2)
    with pytest.raises(
        IslesError, match="E-NET-48: the network has no such part\n.*\n.*'extractor'\n.*generator, context_encoder, seg"
    ):
        network.train_only("extractor")
