"""Train new layers first and all layers then; lower the learning rate where the validation stands still."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from monai_isles.errors import refused
from monai_isles.training.distributed import agreed
from monai_isles.training.early_stop import sign_of

log = logging.getLogger(__name__)


class PlateauSchedule:
    """Multiply the learning rate by ``factor`` after ``patience`` epochs in a row without a gain of ``metric``.

    Attach it after the validation and before the checkpoints, and give it to them as an object. torch counts one epoch
    more before it reduces (``patience`` is what it tolerates); here it is the paper's number.

    Args:
        evaluator, metric, mode: engine and name of the metric, and whether its ``min`` or its ``max`` is best.
        min_delta: a smaller gain is none.
    Raises:
        IslesError: ``E-TRAIN-05`` for another mode, ``E-TRAIN-21`` for an impossible factor or patience.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.6: Dice, a tenth after 20 epochs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        evaluator: Engine,
        metric: str,
        factor: float = 0.1,
        patience: int = 20,
        mode: str = "max",
        min_delta: float = 1e-4,
    ) -> None:
        sign_of(mode)
        if not 0 < factor < 1 or patience < 1:
            raise refused("E-TRAIN-21", where="PlateauSchedule", found=f"factor {factor}, patience {patience}")
        self.optimizer, self.evaluator, self.metric = optimizer, evaluator, metric
        self.settings = {"factor": factor, "patience": patience, "mode": mode, "min_delta": min_delta}
        self.restart()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self._inner.step(agreed(float(self.evaluator.state.metrics[self.metric])))

    def restart(self) -> None:
        """Forget the best value and the epochs counted, as ``FineTuning`` does when all layers begin to train."""
        self._inner = ReduceLROnPlateau(
            self.optimizer,
            mode=self.settings["mode"],
            factor=self.settings["factor"],
            patience=self.settings["patience"] - 1,
            threshold=self.settings["min_delta"],
            threshold_mode="abs",
        )

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._inner.load_state_dict(state)

    def __repr__(self) -> str:
        return f"PlateauSchedule({self.metric}, {', '.join(f'{k}={v}' for k, v in self.settings.items())})"


class FineTuning:
    """Train the new layers alone for ``frozen_epochs`` epochs, then all layers, each phase at its own learning rate.

    In the first phase everything in ``network.pretrained`` is held, running statistics included. A network with nothing
    pre-trained has no first phase: all of it trains at ``all_lr`` from the start. The learning rate is set in the first
    epoch of a phase only, so what a schedule makes of it stays; which phase it is follows from the epoch alone, so a
    resumed run needs no state of this object beside the optimiser's own.

    Args:
        network: the network itself, not a parallel wrapper (``SharedNetwork`` follows what is held by itself):
            ``PSPNet``, or any network without ``pretrained``.
        frozen_epochs: length of the first phase; the paper gives none.
        schedule: starts anew with the second phase.
    Raises:
        IslesError: ``E-TRAIN-20`` for a negative length or a learning rate that is not positive.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.3: 1e-2, then 1e-4.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        frozen_epochs: int,
        new_lr: float = 1e-2,
        all_lr: float = 1e-4,
        schedule: PlateauSchedule | None = None,
    ) -> None:
        if frozen_epochs < 0 or min(new_lr, all_lr) <= 0:
            raise refused(
                "E-TRAIN-20",
                where="FineTuning",
                found=f"frozen_epochs {frozen_epochs}, new_lr {new_lr}, all_lr {all_lr}",
            )
        self.network, self.optimizer, self.schedule = network, optimizer, schedule
        self.new_lr, self.all_lr = new_lr, all_lr
        self.frozen_epochs = frozen_epochs if getattr(network, "pretrained", ()) else 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        if self.frozen_epochs:
            self.network.freeze_pretrained(epoch <= self.frozen_epochs)
        if epoch == self.frozen_epochs + 1:
            start = "" if self.frozen_epochs else "nothing is pre-trained: "
            self._set_lr(self.all_lr, f"{start}all layers train")
            if self.schedule is not None:
                self.schedule.restart()
        elif epoch == 1:
            self._set_lr(self.new_lr, f"new layers train, the rest is held for {self.frozen_epochs} epochs")

    def _set_lr(self, lr: float, why: str) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        log.info("%s, learning rate %g", why, lr)

    def __repr__(self) -> str:
        return f"FineTuning(frozen_epochs={self.frozen_epochs}, new_lr={self.new_lr}, all_lr={self.all_lr})"
