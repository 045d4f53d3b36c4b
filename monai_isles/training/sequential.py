"""Train the parts of a pipeline one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer

from monai_isles.errors import refused

THREE = (("extractor",), ("generator",), ("segmenter",))
_ENCODER = "context_encoder"


class Parted(Protocol):
    """What can restrict itself to some parts: ``PseudoDWILoss``."""

    def only(self, *parts: str) -> None: ...


class Remembering(Protocol):
    """What remembers the best epoch: ``Checkpoints``."""

    def forget_best(self) -> None: ...


class SequentialStages:
    """Divide the epochs evenly among stages; in each, only its parts learn and only their losses count.

    The context encoder learns along with extractor and generator. Every stage begins at the full learning rate and
    multiplies it by ``factor`` once the share ``decay_at`` of its epochs is over, as the joint training does (180 of
    300). Parts that the network lacks are passed over. The best epoch is one of the last stage: before it the segmenter
    has learnt nothing, and what it scores is chance.

    Args:
        network: with ``parts()`` and ``train_only(*names)``. loss: with ``only(*names)``.
        checkpoints: told when the last stage begins.
        stages: names of ``extractor``, ``generator``, ``segmenter`` by stage.
    Raises:
        IslesError: ``E-TRAIN-30`` when a network has no parts, nothing is left of the stages, or epochs are too few.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.5, row (s) of Table 5, and Tables 1 and 2;
        ``tests/training/test_sequential.py``.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Parted,
        optimizer: Optimizer,
        checkpoints: Remembering,
        *,
        max_epochs: int,
        stages: Sequence[Sequence[str]] = THREE,
        lr: float = 2e-3,
        factor: float = 0.2,
        decay_at: float = 0.6,
    ) -> None:
        there = set(network.parts()) if hasattr(network, "parts") else set()
        kept = [tuple(part for part in stage if part in there) for stage in stages]
        self.stages = [stage for stage in kept if stage]
        if not self.stages or max_epochs < len(self.stages):
            raise refused(
                "E-TRAIN-30",
                where=type(network).__name__,
                found=f"parts {sorted(there) or 'none'}, stages {list(stages)}, {max_epochs} epochs",
            )
        self.network, self.loss, self.optimizer, self.checkpoints = network, loss, optimizer, checkpoints
        self.encoded = _ENCODER in there
        self.max_epochs, self.lr, self.factor, self.decay_at = max_epochs, lr, factor, decay_at

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        stage, share = self.place(epoch)
        if stage == self.stages[-1] and (epoch == 1 or self.place(epoch - 1)[0] != stage):
            self.checkpoints.forget_best()
        makes = self.encoded and stage != ("segmenter",)
        self.network.train_only(*stage, *([_ENCODER] if makes else []))
        self.loss.only(*stage)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * (self.factor if share >= self.decay_at else 1.0)

    def place(self, epoch: int) -> tuple[tuple[str, ...], float]:
        """Return the parts that learn in an epoch, counted from 1, and the share of their stage that is over."""
        done = min((epoch - 1) * len(self.stages) / self.max_epochs + 1e-9, len(self.stages) - 1e-6)
        return self.stages[int(done)], done % 1
