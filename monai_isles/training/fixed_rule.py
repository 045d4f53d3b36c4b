"""Run the "training" of a rule without parameters: score the fold and write the usual files."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine

from monai_isles.errors import refused
from monai_isles.io.runs import RunFolder
from monai_isles.io.weights import publish_state
from monai_isles.training.checkpoints import finish_training, require_unfinished

log = logging.getLogger(__name__)


class FixedRule(Engine):
    """Take the trainer's place for a network without parameters: one epoch of one step, which scores the fold.

    ``run`` scores the fold with ``evaluator`` and writes ``model.pt``, a state dictionary without entries, and
    ``run.json``, so that the same commands work on the folder. There ``outcome`` says that nothing was learned, and
    ``left_out`` which cases could not be scored. The metric stands in ``state.metrics``.

    Args:
        evaluator, metric: engine over the fold's cases and the name of its metric; None scores nothing.
        max_epochs: accepted and ignored: a second epoch would equal the first.
    Raises: ``E-TRAIN-02`` the run is finished already, ``E-TRAIN-60`` the network has something to learn.

    >>> from monai_isles.networks.threshold_rule import ThresholdRule
    >>> FixedRule("run", ThresholdRule("core"), None, "val_dice").state.metrics
    {}
    """

    def __init__(
        self,
        folder: str,
        network: torch.nn.Module,
        evaluator: Engine | None,
        metric: str,
        writes: bool = True,
        max_epochs: int = 1,
        train_handlers: Sequence[Any] = (),
    ) -> None:
        super().__init__(self._step)
        if state := network.state_dict():
            found = f"{len(state)} tensors, first {next(iter(state))}"
            raise refused("E-TRAIN-60", where=f"FixedRule with {type(network).__name__}", found=found)
        self.folder, self.network, self.evaluator, self.metric = Path(folder), network, evaluator, metric
        self.writes = writes
        for handler in train_handlers:
            handler.attach(self)

    def run(self) -> float:  # type: ignore[override]
        """Return the metric of the fold, NaN without one."""
        if self.writes:
            require_unfinished(self.folder)
        with RunFolder(self.folder) if self.writes else nullcontext() as held:
            super().run([None], max_epochs=1)
            score = float(self.state.metrics.get(self.metric, math.nan))
            if held is None:
                return score
            publish_state(self.folder / "model.pt", self.network.state_dict())
            scored = "no validation" if self.evaluator is None else f"{self.metric} {score:.5f} on the fold"
            outcome = f"nothing to learn: the rule is fixed; {scored}"
            log.warning("%s", outcome)
            loader = getattr(self.evaluator, "data_loader", None)
            finish_training(held, outcome, [getattr(loader, "dataset", None)], {"network": repr(self.network)})
        return score

    def _step(self, engine: Engine, batch: None) -> None:
        if self.evaluator is not None:
            self.evaluator.run()
            self.state.metrics[self.metric] = float(self.evaluator.state.metrics[self.metric])
