"""Tell the patch loader which epoch comes, and write the training curves."""

from __future__ import annotations

import copy
import csv
import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor, nn

from monai_isles.io.publish import publish_text
from monai_isles.sampling.patches import PatchLoader
from monai_isles.training.distributed import totalled, world_size
from monai_isles.training.schedules import ran_in

log = logging.getLogger(__name__)


def case_names(batch: Mapping[str, Any] | list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what MONAI's MetricsSaver takes as the name of each row: the case."""
    names = [item["case"] for item in batch] if isinstance(batch, list) else batch["case"]
    return [{"filename_or_obj": name} for name in names]


def existing(handler: Any) -> Any:
    """Return a handler that another id of the config makes: MONAI reads ``train#handlers`` as dictionaries."""
    return handler


class ListedOutput:
    """Leave each iteration's output as a list of one, as MONAI's handlers expect it of a decollated batch.

    The trainers of this package do not decollate: taking a batch of patches apart costs time and nothing reads the
    parts. ``from_engine(["loss"], first=True)``, with which ``StatsHandler``, ``TensorBoardStatsHandler`` and
    ``MLFlowHandler`` find the loss, wants a list. Put it first among the handlers; what needs the dictionary itself
    listens to ``IterationEvents.MODEL_COMPLETED``.

    Source: ours; ``tests/bundles/test_workflows.py``.
    """

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        engine.state.output = cast(Any, [engine.state.output])


class CodeSpread:
    """Watch that the context encoder tells images apart: put ``code_spread`` among an evaluator's metrics.

    It is the standard deviation over all validation slices of the code of the true DWI, averaged over the code. An
    encoder that describes every image alike has 0, and its loss then does nothing. Once it falls below a tenth of what
    the encoder had as it was drawn, the log says so, once.

    Args:
        encoder: ``ContextEncoder``; None watches nothing.
    Source: ours; ``tests/training/test_code_spread.py``.
    """

    def __init__(self, encoder: nn.Module | None) -> None:
        self.encoder, self._drawn = encoder, copy.deepcopy(encoder)
        self.first: float | None = None
        self.said = False
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
        spread, self._codes = _spread(self._codes), []
        engine.state.metrics["code_spread"] = spread
        if self.first is None:
            self.first, self._first_codes = _spread(self._first_codes), []
        if spread < 0.1 * self.first and not self.said:
            self.said = True
            said = "the context encoder describes all images alike (spread %.2g, at first %.2g): see encoder_training"
            log.warning(said, spread, self.first)

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first, "said": self.said}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first, self.said = state["first"], state["said"]


def _spread(codes: Sequence[Tensor]) -> float:
    return torch.cat(list(codes)).std(dim=0, correction=0).mean().item()


_FIRST_STEPS = 10.0


class WeightAverage:
    """Keep a running average of the weights over the steps: it is what is validated, kept and shipped.

    Adadelta at the paper's rate moves the weights so far within an epoch that the last step is a matter of chance. The
    average takes ``share`` of each step; at first more, about the last tenth of all steps, so that nothing of the drawn
    weights stays. Running statistics of normalisation are averaged too. The states of network and average are both in a
    checkpoint.

    Args:
        network: the one that is trained, on its device.
        used: what is called in its place while training, the network itself or a parallel wrapper.
        share: of each step in the average; 0 switches it off, and all is as without it.
    Source: Polyak averaging with a warm-up as in TensorFlow's ``ExponentialMovingAverage``;
        ``tests/training/test_weight_average.py``.
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
        """Give every process the first one's average: running statistics are each process's own until then."""
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
            self.network.load_state_dict(state["network"])
            self.steps = int(state["steps"])


class EpochOrder:
    """Name each epoch to the loader, so that its order follows from seed and epoch."""

    def __init__(self, loader: PatchLoader) -> None:
        self.loader = loader

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.loader.set_epoch(engine.state.epoch)


class Curves:
    """Write one row an epoch: the curves of the paper's Figure 3.

    Columns: epoch, train_loss, train_accuracy, then every metric of ``evaluators``, then seconds since the epoch began.
    A metric is ``nan`` in an epoch without validation (``val_interval``).
    Accuracy is that of the ``logits`` where the network returns more, against the label's first channel; a network with
    one output channel has none. Of several processes all counts are summed, so a row is that of one process; nothing
    waits for the device before the epoch's end.
    Args:
        path: the CSV, rewritten whole at the end of every epoch.
        evaluators: engines that ran on the epoch's network; None for one that a training on all scans has not.
        writes: False in all processes but one.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 3.
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
        if logits.shape[1] > 1:
            label = output["label"][:, :1]
            self._right = self._right + right_voxels(logits, label)
            self._voxels += label.numel()

    def _finish(self, engine: Engine) -> None:
        loss, right, voxels = totalled([float(self._loss), float(self._right), self._voxels])
        row: dict[str, float] = {
            "epoch": engine.state.epoch,
            "train_loss": loss / world_size() / max(self._batches, 1),
        }
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
        text = io.StringIO()
        names = max(self.rows, key=len)  # before the first validation there are no metrics
        writer = csv.DictWriter(text, fieldnames=list(names), restval="nan", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        publish_text(self.path, text.getvalue())

    def state_dict(self) -> dict[str, object]:
        begun = [float(self._loss), int(self._right), self._voxels, self._batches]
        return {"rows": self.rows, "begun": begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])
        self._loss, self._right, self._voxels, self._batches = state.get("begun", (0.0, 0, 0, 0))


def right_voxels(logits: Tensor, label: Tensor) -> Tensor:
    """Count the voxels whose greatest logit is the label's, on the device; the first class wins where they are equal.

    Shapes: logits ``(N, K, *spatial)``, label ``(N, 1, *spatial)``; a scalar out.
    """
    found = logits[:, 1:] > logits[:, :1] if logits.shape[1] == 2 else logits.argmax(1, keepdim=True)
    return (found == label).sum()
