"""A training computes as it was told: in 16 bits, compiled, channels last; and resumes in the same way, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from monai.inferers import SimpleInferer

from monai_isles.errors import IslesError
from monai_isles.networks import AsymmetricResUNet, PseudoDWINet
from monai_isles.training import AutocastInferer, training_speed
from monai_isles.training import speed as module
from monai_isles.training.speed import TrainingSpeed, has_bf16_units

CPU = torch.device("cpu")


def test_without_it_the_bits_are_those_of_a_plain_call() -> None:
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(2, 2, base_channels=4).eval(), torch.randn(2, 2, 32, 32)
    assert torch.equal(AutocastInferer()(image, network), SimpleInferer()(image, network))


def test_with_it_the_answer_is_near_and_in_single_precision_and_gradients_come() -> None:
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(2, 2, base_channels=4).eval(), torch.randn(2, 2, 32, 32)
    half, single = AutocastInferer(bf16=True)(image, network), network(image)
    assert half.dtype == torch.float32 and not torch.equal(half, single)
    assert (half - single).abs().mean() < 0.05 * single.abs().mean()
    half.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


def test_every_field_of_several_outputs_comes_back_in_single_precision() -> None:
    network = PseudoDWINet(base_channels=2, return_aux=True)
    output = AutocastInferer(bf16=True)(torch.randn(1, 11, 32, 32), network)
    assert all(part is None or part.dtype == torch.float32 for part in output)


def test_auto_is_fast_only_with_the_units_a_compiler_and_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, plain = TrainingSpeed("bf16", compiled=True, channels_last=True), TrainingSpeed()
    monkeypatch.setattr(module, "has_bf16_units", lambda: True)
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/g++")
    assert training_speed(CPU, 5000) == fast and training_speed(CPU, 20) == plain
    assert training_speed(torch.device("cuda"), 5000) == plain
    assert training_speed(CPU, 5000, precision="fp32") == TrainingSpeed(compiled=True, channels_last=True)
    assert training_speed(CPU, 20, "bf16", False, "as_is") == TrainingSpeed("bf16")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert training_speed(CPU, 5000) == plain
    with pytest.raises(IslesError, match="E-INF-41"):
        training_speed(CPU, 20, compile=True)
    monkeypatch.setattr(module, "has_bf16_units", lambda: False)
    assert training_speed(CPU, 5000) == plain


def test_the_units_are_read_from_the_processor_s_flags(tmp_path: Path) -> None:
    for flags, wanted in (
        ("fma avx512f avx512_bf16 sha_ni", True),
        ("fma avx512f amx_bf16", True),
        ("fma avx2", False),
    ):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
        assert has_bf16_units(tmp_path / "cpuinfo") is wanted
    assert not has_bf16_units(tmp_path / "nothing")


@pytest.mark.parametrize("wrong", [{"precision": "fp8"}, {"compile": "yes"}, {"memory_format": "last"}])
def test_another_way_to_compute_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(IslesError, match=rf"E-TRAIN-70(?s:.*){next(iter(wrong))} '{next(iter(wrong.values()))}'"):
        training_speed(CPU, 20, **wrong)


def test_channels_last_changes_the_layout_and_not_the_answer() -> None:
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(3, 2, base_channels=2, levels=2).eval(), torch.randn(2, 2, 8, 8, 4)
    plain = network(image)
    found = AutocastInferer(speed=TrainingSpeed(channels_last=True))(image, network)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    assert network.first.weight.is_contiguous(memory_format=torch.channels_last_3d)


class Doubled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_batches_of_the_first_size_go_through_the_compiled_network_while_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[torch.nn.Module] = []

    def compile_(network: torch.nn.Module, dynamic: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        made.append(network)
        return lambda x: network(x) + 100

    monkeypatch.setattr(torch, "compile", compile_)
    network, infer = Doubled(), AutocastInferer(speed=TrainingSpeed(compiled=True))
    found = [
        infer(torch.ones(n), network.train(mode)).max().item()
        for n, mode in ((4, True), (4, True), (3, True), (4, False))
    ]
    assert found == [102, 102, 2, 2] and made == [network]


@pytest.mark.parametrize(
    "speed", [TrainingSpeed("bf16"), pytest.param(TrainingSpeed("bf16", True, True), marks=pytest.mark.long)],
    ids=["bf16", "compiled"],
)  # fmt: skip
def test_a_resume_is_exact_within_a_mode(small_run: Callable[..., SimpleNamespace], speed: TrainingSpeed) -> None:
    def run(folder: str, epochs: int) -> SimpleNamespace:
        made = small_run(epochs=epochs, folder=folder, flat=speed.compiled)
        made.trainer.inferer = AutocastInferer(speed=speed)
        made.checkpoints.resume(made.trainer)
        made.trainer.run()
        return made

    whole = run("whole", 2)
    run("stopped", 1)
    (whole.folder.parent / "stopped" / "run.json").unlink()
    torch.manual_seed(99)
    resumed = run("stopped", 2)
    losses = [[row["train_loss"] for row in made.curves.rows] for made in (whole, resumed)]
    assert losses[0] == losses[1] and len(losses[0]) == 2
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_half_precision_on_a_gpu_stays_near_single_precision() -> None:
    """MONAI's ``amp`` is ``torch.autocast`` in float16; probabilities agree in the second digit."""
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(2, 10).cuda().eval(), torch.randn(8, 10, 64, 64, device="cuda")
    with torch.no_grad():
        single = network(image).softmax(1)
        with torch.autocast("cuda"):
            half = network(image).float().softmax(1)
    assert (half - single).abs().max() < 0.02 and not torch.equal(half, single)
