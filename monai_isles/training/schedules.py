"""Define schedules over epochs: early stop, learning rates, and which parts of a network learn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, cast

from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from monai_isles.errors import refused
from monai_isles.losses.synthesis import PseudoDWILoss
from monai_isles.training.distributed import from_first

log = logging.getLogger(__name__)


def sign_of(mode: str) -> int:
    """Return the factor by which the best value of a metric becomes the smallest: 1 for ``min``, -1 for ``max``."""
    if mode not in ("min", "max"):
        raise refused("E-TRAIN-05", where="mode", found=repr(mode))
    return 1 if mode == "min" else -1


def read_metric(evaluator: Engine | None, metric: str) -> float:
    """Return the metric of the evaluator's last run, in the first process; not to be called without an evaluator."""
    known = cast(Engine, evaluator).state.metrics
    if metric not in known:
        text = {"fault": "no such metric of the validation", "fix": f"name one of {', '.join(known)}"}
        raise refused("E-TRAIN-05", where="metric that chooses the epoch", found=repr(metric), **text)
    return from_first(float(known[metric]))


def ran_in(engine: Engine, evaluator: Engine | None) -> bool:
    """Return whether the evaluator ran in the epoch that the trainer ends: MONAI gives it the trainer's epoch."""
    return evaluator is not None and evaluator.state.epoch == engine.state.epoch


class EarlyStop:
    """Stop the trainer after ``patience`` validations in a row without a gain of ``min_delta`` in ``metric``.

    Several processes use the first one's value, so they stop together.

    Args:
        evaluator, metric, mode: engine and name of the metric, and whether its ``min`` or its ``max`` is best; without
            an engine (a training on all scans) it never stops.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3: L1 plus error rate, patience 10.
        Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.6: Dice, patience 50.

    >>> stop = EarlyStop(Engine(lambda engine, batch: None), "val_loss", patience=10)
    >>> stop.state_dict()
    {'best': inf, 'waited': 0}
    """

    def __init__(
        self, evaluator: Engine | None, metric: str, patience: int = 10, min_delta: float = 1e-4, mode: str = "min"
    ) -> None:
        self.evaluator, self.metric, self.patience, self.min_delta = evaluator, metric, patience, min_delta
        self.sign = sign_of(mode)
        self.end: Callable[[Engine], None] = methodcaller("terminate")
        self.restart()

    def attach(self, engine: Engine) -> None:
        if self.evaluator is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def restart(self) -> None:
        """Reset the best value and the count of epochs; ``SequentialStages`` does so when a stage begins."""
        self.best, self.waited = self.sign * float("inf"), 0

    def __call__(self, engine: Engine) -> None:
        if not ran_in(engine, self.evaluator):
            return
        score = read_metric(self.evaluator, self.metric)
        improved = self.sign * score < self.sign * self.best - self.min_delta
        self.waited = 0 if improved else self.waited + 1
        self.best = score if improved else self.best
        if self.waited >= self.patience:
            self.end(engine)

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best, self.waited = state["best"], int(state["waited"])


_REACHED = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")  # state of ReduceLROnPlateau


class PlateauSchedule:
    """Multiply the learning rate by ``factor`` after ``patience`` validations in a row without a gain of ``metric``.

    Attach it after the validation and before the checkpoints, and give it to them as an object. torch counts one epoch
    more before it reduces (``patience`` is what it tolerates); here it is the paper's number.

    ``evaluator``, ``metric`` and ``mode`` are as of ``EarlyStop``; without an engine the rate stays.

    Raises: ``E-TRAIN-05`` for another mode, ``E-TRAIN-21`` for an impossible factor or patience.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.6: Dice, a tenth after 20 epochs.

    >>> optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> PlateauSchedule(optimizer, None, "val_dice", patience=20)
    PlateauSchedule(val_dice, factor=0.1, patience=20, mode=max, min_delta=0.0001)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        evaluator: Engine | None,
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
        self.settings: dict[str, Any] = {"factor": factor, "patience": patience, "mode": mode, "min_delta": min_delta}
        self.restart()

    def attach(self, engine: Engine) -> None:
        if self.evaluator is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if ran_in(engine, self.evaluator):
            self._inner.step(read_metric(self.evaluator, self.metric))

    def restart(self) -> None:
        """Reset the best value and the count of epochs; ``FineTuning`` does so when all layers begin to train."""
        options = {**self.settings, "patience": self.settings["patience"] - 1}
        least = options.pop("min_delta")
        self._inner = ReduceLROnPlateau(self.optimizer, threshold=least, threshold_mode="abs", **options)

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # the settings are this object's own: other ones may be forced
        self._inner.load_state_dict({name: state[name] for name in _REACHED if name in state})

    def __repr__(self) -> str:
        return f"PlateauSchedule({self.metric}, {', '.join(f'{k}={v}' for k, v in self.settings.items())})"


class FineTuning:
    """Train only the new layers for ``frozen_epochs`` epochs, then all; each phase has its own learning rate.

    In the first phase everything in ``network.pretrained`` is frozen, running statistics included. A network with
    nothing pre-trained has no first phase: all of it trains at ``all_lr`` from the start. The learning rate is set in
    the first epoch of a phase only, so a schedule may change it afterwards. The phase depends on the epoch alone, so a
    resumed run needs no state of this object.

    Args:
        network: the network itself, not a parallel wrapper (``SharedNetwork`` follows the frozen parts by itself):
            ``PSPNet``, or any network without ``pretrained``.
        frozen_epochs: length of the first phase; the paper gives none.
        schedule: restarted with the second phase.
    Raises: ``E-TRAIN-20`` for a negative length or a learning rate that is not positive.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.3: 1e-2, then 1e-4.

    >>> network = nn.Linear(2, 1)  # nothing is pre-trained: all layers train at all_lr from the first epoch
    >>> FineTuning(network, torch.optim.SGD(network.parameters(), lr=0.1), frozen_epochs=5)
    FineTuning(frozen_epochs=0, new_lr=0.01, all_lr=0.0001)
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
            found = f"frozen_epochs {frozen_epochs}, new_lr {new_lr}, all_lr {all_lr}"
            raise refused("E-TRAIN-20", where="FineTuning", found=found)
        self.network, self.optimizer, self.schedule = network, optimizer, schedule
        self.new_lr, self.all_lr = new_lr, all_lr
        self.frozen_epochs = frozen_epochs if getattr(network, "pretrained", ()) else 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        if self.frozen_epochs:
            cast(Any, self.network).freeze_pretrained(epoch <= self.frozen_epochs)
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


THREE = (("extractor",), ("generator",), ("segmenter",))
_ENCODER = "context_encoder"


class SequentialStages:
    """Train the stages one after another; in each, only its parts learn and only their losses count.

    The context encoder learns with extractor and generator. Every stage begins at the full learning rate and multiplies
    it by ``factor`` after the share ``decay_at`` of its epochs, as the joint training does (180 of 300). Parts that the
    network lacks are skipped. Only epochs of the last stage can be the best: before it the segmenter has not learnt.

    Args:
        network: with ``parts()`` and ``train_only(*names)``.
        loss: None where the network gives the output of the part that learns.
        checkpoints: ``Checkpoints``, reset when the last stage begins; they keep the state of this object.
        max_epochs: of all stages together.
        stages: names of parts by stage, such as ``extractor``, ``generator``, ``segmenter``.
        epochs: of each stage; None divides ``max_epochs`` evenly. The paper gives one number, 300, and trains each part
            by it: ``[300, 300, 300]`` with ``max_epochs`` 900 is that reading.
        evaluator, metric: the next stage starts from the weights of the least value, by default of the loss, of which
            only the stage's part counts; without an engine from the last weights.
        early_stop: restarted in every stage; it ends the stage instead of the training.
    Raises: ``E-TRAIN-30`` when a network has no parts, nothing is left of the stages, or the epochs do not fit.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.5, row (s) of Table 5, and Tables 1 and 2;
        section 5: the best checkpoint on the validation set; ``tests/training/test_sequential.py``.

    >>> from monai_isles.networks.pseudo_dwi_net import PseudoDWINet
    >>> from types import SimpleNamespace
    >>> network = PseudoDWINet(base_channels=1)
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> stages = SequentialStages(network, None, optimizer, SimpleNamespace(objects={}), max_epochs=9)
    >>> stages.place(4)  # the first epoch of the second stage
    (1, 0.0)
    """

    def __init__(
        self,
        network: nn.Module,
        loss: PseudoDWILoss | None,
        optimizer: Optimizer,
        checkpoints: Any,
        *,
        max_epochs: int,
        stages: Sequence[Sequence[str]] = THREE,
        epochs: Sequence[int] | None = None,
        evaluator: Engine | None = None,
        metric: str = "val_loss",
        early_stop: EarlyStop | None = None,
        lr: float = 2e-3,
        factor: float = 0.2,
        decay_at: float = 0.6,
    ) -> None:
        known = set(cast(Any, network).parts()) if hasattr(network, "parts") else set()
        kept = [tuple(part for part in stage if part in known) for stage in stages]
        self.stages = [stage for stage in kept if stage]
        self.lengths = [n for n, stage in zip(epochs, kept, strict=False) if stage] if epochs else []
        if epochs is None and self.stages:  # the rounded ends of equal shares
            ends = [-(-max_epochs * k // len(self.stages)) for k in range(len(self.stages) + 1)]
            self.lengths = [high - low for low, high in zip(ends, ends[1:], strict=False)]
        if len(self.lengths) != len(self.stages) or min(self.lengths, default=0) < 1 or sum(self.lengths) != max_epochs:
            found = f"parts {sorted(known) or 'none'}, stages {list(stages)}, {max_epochs} epochs"
            found += "" if epochs is None else f", divided {list(epochs)}"
            raise refused("E-TRAIN-30", where=type(network).__name__, found=found)
        self.network, self.loss, self.optimizer, self.checkpoints = network, loss, optimizer, checkpoints
        self.evaluator, self.metric, self.early_stop = evaluator, metric, early_stop
        if early_stop is not None:
            early_stop.end = self.end_stage
        self.encoded = _ENCODER in known
        self.lr, self.factor, self.decay_at, self.max_epochs = lr, factor, decay_at, max_epochs
        self.best: float = float("inf")
        self.best_weights: dict[str, Tensor] = {}
        checkpoints.objects["stages"] = self

    def __repr__(self) -> str:
        handed = "last" if self.evaluator is None else f"best {self.metric}"
        return f"SequentialStages({list(zip(self.stages, self.lengths, strict=True))}, handed on: {handed})"

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_shortened)
        if self.evaluator is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._remember)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        number, share = self.place(epoch)
        stage, begins = self.stages[number], epoch == 1 or self.place(epoch - 1)[0] != number
        if begins and epoch > 1:
            # A stage begins with the best weights of the one before.
            if self.best_weights:
                self.network.load_state_dict(self.best_weights)
            self.best, self.best_weights = float("inf"), {}
            if self.early_stop is not None:
                self.early_stop.restart()
        if begins and number == len(self.stages) - 1:
            self.checkpoints.forget_best()
        makes = self.encoded and stage != ("segmenter",)
        cast(Any, self.network).train_only(*stage, *([_ENCODER] if makes else []))
        if self.loss is not None:
            self.loss.only(*stage)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * (self.factor if share >= self.decay_at else 1.0)

    def place(self, epoch: int) -> tuple[int, float]:
        """Return the number of the stage of an epoch (epochs count from 1), and the share of the stage that is over."""
        done = epoch - 1
        for number, length in enumerate(self.lengths):
            if done < length:
                return number, done / length
            done -= length
        return len(self.lengths) - 1, 1.0

    def end_stage(self, engine: Engine) -> None:
        """Let the next epoch begin the next stage; end the training in the last one."""
        number, _ = self.place(engine.state.epoch)
        if number == len(self.stages) - 1:
            engine.terminate()
        else:
            self.lengths[number] = engine.state.epoch - sum(self.lengths[:number])

    def _end_shortened(self, engine: Engine) -> None:
        """End the training after the last stage if an earlier stage was shortened."""
        if sum(self.lengths) < self.max_epochs and engine.state.epoch >= sum(self.lengths):
            engine.terminate()

    def _remember(self, engine: Engine) -> None:
        if not ran_in(engine, self.evaluator):
            return
        score = read_metric(self.evaluator, self.metric)
        if score < self.best:
            self.best = score
            self.best_weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_weights": self.best_weights, "lengths": list(self.lengths)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_weights = state["best"], state["best_weights"]
        self.lengths = list(state.get("lengths", self.lengths))
