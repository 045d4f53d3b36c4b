"""The discriminator learns to tell real from synthetic, and only while the generator learns."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

from monai_isles.losses import PseudoDWILoss, SynthesisLoss
from monai_isles.networks import MultiScaleDiscriminator
from monai_isles.networks.blocks import PseudoDWIOutput
from monai_isles.training import DiscriminatorStep


def engine_with(step: DiscriminatorStep, times: int, precision: torch.dtype = torch.float32) -> Engine:
    real = torch.rand(4, 1, 32, 32)
    logits = torch.zeros(4, 2, 32, 32, requires_grad=True)
    fake = torch.zeros(4, 1, 32, 32, dtype=precision, requires_grad=True)
    output = {"pred": PseudoDWIOutput(logits, fake, None), "label": torch.cat([real.round(), real, real], 1)}

    def step_of_monai(engine: Engine, batch: int) -> None:
        engine.state.output = output
        engine.fire_event(IterationEvents.MODEL_COMPLETED)

    engine = Engine(step_of_monai)
    engine.register_events(*IterationEvents)
    step.attach(engine)
    engine.run(range(times), max_epochs=1)
    assert fake.grad is None and logits.grad is None
    return engine


def parts() -> tuple[nn.Module, torch.optim.Optimizer, PseudoDWILoss]:
    torch.manual_seed(0)
    judge = MultiScaleDiscriminator(base_channels=4, scales=2, layers=2)
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3)
    return judge, optimizer, PseudoDWILoss(synthesis=SynthesisLoss("gan", discriminator=judge))


def test_it_learns_to_tell_them_apart() -> None:
    judge, optimizer, loss = parts()
    step = DiscriminatorStep(judge, optimizer, loss)
    engine_with(step, 1)
    first = step.last
    engine_with(step, 60)
    assert step.last < 0.5 * first


def test_images_in_16_bits_as_on_a_gpu_are_judged_too() -> None:
    step = DiscriminatorStep(*parts())
    engine_with(step, 1, torch.float16)
    assert step.last > 0


def test_what_the_generator_s_step_left_behind_does_not_move_it() -> None:
    moves = []
    for noise in (0.0, 1e6):
        judge, optimizer, loss = parts()
        for p in judge.parameters():
            p.grad = torch.full_like(p, noise)
        torch.manual_seed(1)
        engine_with(DiscriminatorStep(judge, optimizer, loss), 1)
        moves.append(next(judge.parameters()).detach().clone())
    assert torch.equal(*moves)


def test_it_rests_while_the_segmenter_learns_alone() -> None:
    judge, optimizer, loss = parts()
    loss.only("segmenter")
    before = next(judge.parameters()).detach().clone()
    step = DiscriminatorStep(judge, optimizer, loss)
    engine_with(step, 2)
    assert torch.equal(before, next(judge.parameters())) and step.last is None


def test_its_state_comes_back() -> None:
    judge, optimizer, loss = parts()
    step = DiscriminatorStep(judge, optimizer, loss)
    engine_with(step, 3)
    torch.manual_seed(5)
    other = MultiScaleDiscriminator(base_channels=4, scales=2, layers=2)
    fresh = DiscriminatorStep(other, torch.optim.Adam(other.parameters(), lr=1e-3), loss)
    fresh.load_state_dict(step.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(judge.parameters(), other.parameters(), strict=True))
    assert len(fresh.optimizer.state) == len(optimizer.state)
