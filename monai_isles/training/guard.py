"""Stop before a loss that is not a number reaches the weights."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from monai_isles.errors import IslesError
from monai_isles.sampling import PatchLoader


class FiniteGuard:
    """Raise before the backward pass of the first batch whose loss is not finite.

    Args:
        loader: the patch loader, to name the cases of the batch.
    Raises:
        IslesError: ``E-TRAIN-03``, naming the epoch, the iteration and the cases.
    Source: ours; ``tests/training/test_guard.py``.
    """

    def __init__(self, loader: PatchLoader) -> None:
        self.loader = loader

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        loss = engine.state.output["loss"]
        if bool(torch.isfinite(loss).all()):
            return
        cases = sorted({self.loader.names[i] for i in engine.state.batch["case"].tolist()})
        raise IslesError(
            "E-TRAIN-03",
            "the loss is not a number",
            where=f"cases {', '.join(cases)}",
            found=f"loss {loss.item()} in epoch {engine.state.epoch}, iteration {engine.state.iteration}",
            fix="run `monai-isles check` on the data; the last checkpoint is untouched",
        )
