"""Stop a training before a loss that is not finite changes the weights."""

from __future__ import annotations

from typing import cast

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor

from monai_isles.errors import IslesError, find_isles_error, refused
from monai_isles.sampling.patches import PatchLoader


class FiniteGuard:
    """Raise before the backward pass of the first batch whose loss is not finite.

    On a GPU reading the loss at once would wait for every forward pass. There each loss is read one iteration later,
    after an asynchronous copy, and the last one before anything is saved at the epoch's end.

    A finite loss may still lead to a step that is not finite. The validation then finds logits that are not numbers,
    and the error names the cases of the last batch.

    Args:
        late: look one iteration later; on a GPU when None.
    Raises: ``E-TRAIN-03``, naming the epoch, the iteration and the cases.

    >>> from types import SimpleNamespace
    >>> engine = Engine(lambda engine, batch: None)
    >>> engine.state.output, engine.state.batch = {"loss": torch.tensor(0.5)}, {"case": torch.tensor([0])}
    >>> FiniteGuard(SimpleNamespace(names=["case_01"]))(engine)  # finite: nothing is raised
    """

    def __init__(self, loader: PatchLoader, late: bool | None = None) -> None:
        self.loader, self.late = loader, late
        self._waiting: tuple[Tensor, torch.cuda.Event | None] | None = None
        self._last: tuple[Tensor, str] | None = None  # cases and place of the last loss

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._judge)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._explain)

    def __call__(self, engine: Engine) -> None:
        output, batch = cast(dict[str, Tensor], engine.state.output), cast(dict[str, Tensor], engine.state.batch)
        loss = output["loss"].detach()
        late = loss.device.type == "cuda" if self.late is None else self.late
        if late:
            self._judge(engine)
        self._last = (batch["case"], f"epoch {engine.state.epoch}, iteration {engine.state.iteration}")
        self._waiting = _on_its_way(loss)
        if not late:
            self._judge(engine)

    def _judge(self, engine: Engine) -> None:
        """Check the pending loss."""
        if self._waiting is None or self._last is None:
            return
        (loss, arrived), self._waiting = self._waiting, None
        if arrived is not None:
            arrived.synchronize()
        if not torch.isfinite(loss).all():
            raise self._stop(self._last[0], f"loss {loss.item()} in {self._last[1]}")

    def _explain(self, engine: Engine, error: BaseException) -> None:
        ours = find_isles_error(error)
        if ours is None or ours.code != "E-MET-07" or self._last is None:
            raise error
        chosen, place = self._last
        raise self._stop(chosen, f"after {place}: {ours.fault}, {ours.found}") from error

    def _stop(self, chosen: Tensor, found: str) -> IslesError:
        cases = sorted({self.loader.names[i] for i in chosen.tolist()})
        return refused("E-TRAIN-03", where=f"cases {', '.join(cases)}", found=found)


def _on_its_way(loss: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Copy a loss to the CPU; for one from a GPU also return the event that marks the end of the copy."""
    if loss.device.type != "cuda":
        return loss, None
    host = torch.empty(loss.shape, dtype=loss.dtype, pin_memory=True)
    host.copy_(loss, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return host, arrived
