"""Handlers of a training: order of the cases, average of the weights, discriminator, curves."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_isles.io.publish import publish_text
from monai_isles.losses.synthesis import discriminator_ls_loss, verdicts
from monai_isles.sampling.patches import PatchLoader
from monai_isles.training.distributed import shared, total_over_processes, world_size
from monai_isles.training.schedules import ran_in

log = logging.getLogger(__name__)


def case_names(batch: Mapping[str, Any] | list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the case names in the form in which MONAI's MetricsSaver reads the name of each row.

    >>> case_names({"case": ["case_01", "case_02"]})
    [{'filename_or_obj': 'case_01'}, {'filename_or_obj': 'case_02'}]
    """
    names = [item["case"] for item in batch] if isinstance(batch, list) else batch["case"]
    return [{"filename_or_obj": name} for name in names]


def existing(handler: Any) -> Any:
    """Return the handler itself, so that a list of handlers in a config may refer to another id of the config.

    >>> existing("@early_stop")
    '@early_stop'
    """
    return handler


class ListedOutput:
    """Wrap each iteration's output in a list of one, as MONAI's handlers expect of a decollated batch.

    The trainers of this package do not decollate: splitting a batch of patches costs time, and no handler reads the
    parts. ``StatsHandler``, ``TensorBoardStatsHandler`` and ``MLFlowHandler`` find the loss with
    ``from_engine(["loss"], first=True)``, which needs a list. Put this handler first. A handler that needs the
    dictionary itself listens to ``IterationEvents.MODEL_COMPLETED``.

    >>> trainer = Engine(lambda engine, batch: {"loss": 0.5})
    >>> ListedOutput().attach(trainer)
    >>> trainer.run([0]).output
    [{'loss': 0.5}]
    """

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        engine.state.output = cast(Any, [engine.state.output])


class CodeSpread:
    """Measure the spread of the context encoder's codes; add ``code_spread`` to an evaluator's metrics.

    The spread is the standard deviation of the true DWI's code over all validation slices, averaged over the code. It
    is 0 when the encoder describes every image alike; its loss then has no effect. One warning is logged when the
    spread falls below a tenth of its value at initialisation.

    Args:
        encoder: ``ContextEncoder``; None measures nothing.

    >>> evaluator = Engine(lambda engine, batch: {"label": batch})
    >>> CodeSpread(nn.Flatten()).attach(evaluator)
    >>> evaluator.run([torch.stack([torch.zeros(2, 1, 1), torch.tensor([0.0, 4.0]).reshape(2, 1, 1)])]).metrics
    {'code_spread': 2.0}
    """

    def __init__(self, encoder: nn.Module | None) -> None:
        self.encoder, self._drawn = encoder, copy.deepcopy(encoder)
        self.first: float | None = None
        self.warned = False
        self._codes: list[Tensor] = []
        self._first_codes: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        if self.encoder is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _collect(self, engine: Engine) -> None:
        truth = cast(dict[str, Tensor], engine.state.output)["label"][:, 1:2].float()
        encoder, drawn = cast(nn.Module, self.encoder), cast(nn.Module, self._drawn)  # see ``attach``
        with torch.no_grad():
            self._codes.append(encoder(truth).double())
            if self.first is None:
                self._first_codes.append(drawn.to(truth.device)(truth).double())

    def _finish(self, engine: Engine) -> None:
        spread, self._codes = _mean_sd(self._codes), []
        engine.state.metrics["code_spread"] = spread
        if self.first is None:
            self.first, self._first_codes = _mean_sd(self._first_codes), []
        if spread < 0.1 * self.first and not self.warned:
            self.warned = True
            text = "the context encoder describes all images alike (spread %.2g, at first %.2g): see encoder_training"
            log.warning(text, spread, self.first)

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first, "said": self.warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first, self.warned = state["first"], state["said"]


def _mean_sd(codes: Sequence[Tensor]) -> float:
    return torch.cat(list(codes)).std(dim=0, correction=0).mean().item()


_FIRST_STEPS = 10.0


class WeightAverage:
    """Keep a running average of the weights over the steps; validate, save and ship that average.

    Adadelta at the paper's rate moves the weights so far within an epoch that the last step is arbitrary. The average
    takes ``share`` of each step. During warm-up it takes more, about the last tenth of all steps, so that the initial
    weights are forgotten. Running statistics of normalisation are averaged too. A checkpoint holds both states.

    Args:
        used: the module called while training: the network itself or a parallel wrapper.
        share: of each step in the average; 0 switches the average off.
    Source: Polyak averaging with a warm-up as in TensorFlow's ``ExponentialMovingAverage``.

    >>> network = nn.Linear(1, 1)
    >>> average = WeightAverage(network, share=0.5)
    >>> average()  # once after each step of the trainer
    >>> torch.equal(average.kept.weight, network.weight)
    True
    """

    def __init__(self, network: nn.Module, used: nn.Module | None = None, share: float = 0.0) -> None:
        self.network, self.share, self.steps = network, share, 0
        self.kept = copy.deepcopy(network) if share else network
        self.validated = self.kept if share else used or network

    def attach(self, engine: Engine) -> None:
        if self.share:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.agree)

    def agree(self, engine: Engine | None = None) -> None:
        """Copy the first process's average to all: until then running statistics differ between processes."""
        if dist.is_available() and dist.is_initialized():
            for value in self.kept.state_dict().values():
                dist.broadcast(value, src=0)

    @torch.no_grad()
    def __call__(self, engine: Engine | None = None) -> None:
        share = max(self.share, _FIRST_STEPS / (_FIRST_STEPS + self.steps))
        for mean, value in zip(self.kept.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)
        self.steps += 1

    def __repr__(self) -> str:
        return f"WeightAverage(share={self.share})"

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "steps": self.steps} if self.share else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.share:
            # none of a run without an average: it begins with the weights, which the kept network holds
            self.network.load_state_dict(state.get("network", self.kept.state_dict()))
            self.steps = int(state.get("steps", 0))


class EpochOrder:
    """Pass the number of each epoch to the loader, whose order depends on seed and epoch.

    >>> from types import SimpleNamespace
    >>> epochs: list[int] = []
    >>> trainer = Engine(lambda engine, batch: None)
    >>> EpochOrder(SimpleNamespace(set_epoch=epochs.append)).attach(trainer)
    >>> _ = trainer.run([0], max_epochs=2)
    >>> epochs
    [1, 2]
    """

    def __init__(self, loader: PatchLoader) -> None:
        self.loader = loader

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.loader.set_epoch(engine.state.epoch)


class DiscriminatorStep:
    """Update the discriminator once after each step of the network, on the same images.

    The network's own adversarial term is part of ``SynthesisLoss``; the gradients that its backward pass leaves in the
    discriminator are cleared first. In a stage without the generator nothing is done. With several processes each one
    judges its own images, and the gradients are averaged.

    Args:
        discriminator: judges ``(N, 1, H, W)`` images, or perfusion maps and image together; on the trainer's device.
    Source: Mao 2017 (arXiv:1611.04076); Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.1.

    >>> judge = nn.Conv2d(1, 1, 1)
    >>> step = DiscriminatorStep(judge, torch.optim.Adam(judge.parameters()), nn.MSELoss())
    >>> step.last is None  # attach it to a trainer: the loss of each step then stands here
    True
    """

    def __init__(self, discriminator: nn.Module, optimizer: Optimizer, loss: nn.Module) -> None:
        self.discriminator, self.optimizer, self.loss = discriminator, optimizer, loss
        self.judge = discriminator
        if world_size() > 1:
            self.judge = shared(discriminator, next(discriminator.parameters()).device)
        self._last: Tensor | None = None

    @property
    def last(self) -> float | None:
        """Return the discriminator's loss in the last step, None before the first."""
        return None if self._last is None else self._last.item()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if "generator" not in getattr(self.loss, "parts", ("generator",)):
            return
        output = cast(dict[str, Any], engine.state.output)
        # on a GPU the network's images are in 16 bits, and this step is outside its autocast
        fake, real, maps = output["pred"].pseudo_dwi.detach().float(), output["label"][:, 1:2], output["pred"].maps
        self.optimizer.zero_grad(set_to_none=True)
        loss = discriminator_ls_loss(verdicts(self.judge, real, maps), verdicts(self.judge, fake, maps))
        loss.backward()
        self.optimizer.step()
        self._last = loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])


class Curves:
    """Write one row per epoch: the training curves of the paper's Figure 3.

    Columns: epoch, train_loss, train_accuracy, then every metric of ``evaluators``, then seconds since the epoch began.
    A metric is ``nan`` in an epoch without validation (``val_interval``).
    Accuracy compares the ``logits``, the first of several, with the label's first channel; a network with one output
    channel has none. Counts are summed over all processes. The device is synchronised only at the epoch's end.

    Args:
        evaluators: engines that ran on the epoch's network; None stands for no validation.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 3.

    >>> curves = Curves("curves.csv", evaluators=[])
    >>> curves.load_state_dict({"rows": [{"epoch": 1, "train_loss": 0.7}]})  # as a resumed run does
    >>> curves.rows[0]["train_loss"]
    0.7
    """

    def __init__(self, path: str, evaluators: Sequence[Engine | None], writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes
        self.evaluators = [evaluator for evaluator in evaluators if evaluator is not None]
        self.rows: list[dict[str, float]] = []
        self._begin()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _begin(self, engine: Engine | None = None) -> None:
        self._started, self._voxels, self._batches = time.monotonic(), 0, 0
        self._loss: Tensor | float = 0.0
        self._right: Tensor | int = 0

    def _count(self, engine: Engine) -> None:
        output = cast(dict[str, Any], engine.state.output)
        self._loss = self._loss + output["loss"].detach().double()
        self._batches += 1
        logits = getattr(output["pred"], "logits", output["pred"]).detach()
        logits = logits[:, 0] if logits.ndim > output["label"].ndim else logits
        if logits.shape[1] > 1:
            label = output["label"][:, :1]
            self._right = self._right + (logits.argmax(1, keepdim=True) == label).sum()  # the first class wins a tie
            self._voxels += label.numel()

    def _finish(self, engine: Engine) -> None:
        loss, right, voxels = total_over_processes([float(self._loss), float(self._right), self._voxels])
        row: dict[str, float] = {"epoch": engine.state.epoch, "train_loss": loss / world_size() / max(self._batches, 1)}
        if voxels:
            row["train_accuracy"] = right / voxels
        for evaluator in self.evaluators:
            ran = ran_in(engine, evaluator)
            row |= {name: float(value) if ran else math.nan for name, value in evaluator.state.metrics.items()}
        row["seconds"] = round(time.monotonic() - self._started, 1)
        self.rows.append(row)
        if not self.writes:
            return
        log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        names = max(self.rows, key=len)  # before the first validation there are no metrics
        table = pd.DataFrame(self.rows, columns=list(names))
        publish_text(self.path, table.to_csv(index=False, na_rep="nan", lineterminator="\n"))

    def state_dict(self) -> dict[str, object]:
        begun = [float(self._loss), int(self._right), self._voxels, self._batches]
        return {"rows": self.rows, "begun": begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])
        self._loss, self._right, self._voxels, self._batches = state.get("begun", (0.0, 0, 0, 0))
