"""Checkpoints that survive a kill at any moment, and resume exactly."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from monai_isles.errors import IslesError
from monai_isles.io import RunFolder, load_state, publish_state
from monai_isles.training.early_stop import sign_of
from monai_isles.training.finished import require_unfinished

log = logging.getLogger(__name__)


class Checkpoints:
    """Save everything a run needs to go on at the end of each epoch; keep the last two and the best weights.

    ``checkpoint-NNNN.pt`` holds the states of ``objects``, the random state and the fingerprint of the settings;
    ``model.pt`` holds the network's best weights alone. All are published whole (``monai_isles.io.publish_state``). The
    folder is locked from ``resume`` on; ``run.json`` comes last and means that the run is finished.

    Args:
        folder: the run's folder for checkpoints.
        network: its state dict goes to ``model.pt`` when the metric is the best so far by more than ``min_delta``.
        evaluator, metric, mode: engine and name of the metric, and whether its ``min`` or its ``max`` is best.
        objects: what else has a state: the optimiser, the early stop, the curves.
        describe: named objects whose ``repr`` states the settings; a resume with others is refused.
        keep: checkpoints kept.
        writes: False in all processes but one.
    Raises:
        IslesError: ``E-TRAIN-01`` for other settings than the checkpoint's, ``E-TRAIN-02`` for a finished run,
            ``E-TRAIN-04`` when checkpoints exist and none can be read, ``E-TRAIN-05`` another mode.
    Source: ours; ``tests/training/test_checkpoints.py``.
    """

    def __init__(
        self,
        folder: str,
        network: torch.nn.Module,
        evaluator: Engine,
        metric: str,
        objects: Mapping[str, Any],
        describe: Mapping[str, Any],
        min_delta: float = 0.0,
        keep: int = 2,
        writes: bool = True,
        mode: str = "min",
    ) -> None:
        self.folder, self.network, self.evaluator, self.metric = Path(folder), network, evaluator, metric
        self.objects = {"network": network, **objects}
        self.settings = {name: " ".join(repr(thing).split()) for name, thing in describe.items()}
        self.min_delta, self.keep, self.writes = min_delta, keep, writes
        self._held = RunFolder(folder)
        self.sign = sign_of(mode)
        self.best = self.sign * float("inf")
        self.best_epoch = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def forget_best(self) -> None:
        """Let the next epoch's weights be the best: what counted before was another task."""
        self.best, self.best_epoch = self.sign * float("inf"), 0

    def resume(self, engine: Engine) -> int:
        """Load the newest checkpoint that can be read into all objects and ``engine``; return its epoch, 0 for none."""
        require_unfinished(self.folder)
        if self.writes:
            self._held.__enter__()
        state, path = self._newest()
        if state is None:
            return 0
        self._require_same_settings(state["settings"], path)
        for name, thing in self.objects.items():
            thing.load_state_dict(state["objects"][name])
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        torch.set_rng_state(state["random"])
        engine.load_state_dict(
            {"epoch": state["epoch"], "epoch_length": state["epoch_length"], "max_epochs": engine.state.max_epochs}
        )
        log.warning("resuming after epoch %d of %s", state["epoch"], path)
        return int(state["epoch"])

    def _newest(self) -> tuple[dict[str, Any] | None, Path]:
        paths = sorted(self.folder.glob("checkpoint-*.pt"), reverse=True)
        faults = []
        for path in paths:
            try:
                return load_state(path), path
            except IslesError as error:
                faults.append(f"{path.name}: {error.fault}")
                log.warning("%s cannot be read and is passed over: %s", path, error.fault)
        if faults:
            raise IslesError(
                "E-TRAIN-04",
                "no checkpoint can be read",
                where=str(self.folder),
                found="; ".join(faults),
                fix="remove the damaged files to start anew, or copy a good checkpoint there",
            )
        return None, self.folder

    def _require_same_settings(self, saved: Mapping[str, str], path: Path) -> None:
        changed = [name for name in {**saved, **self.settings} if saved.get(name) != self.settings.get(name)]
        if changed:
            shown = "; ".join(_difference(n, saved.get(n, "nothing"), self.settings.get(n, "nothing")) for n in changed)
            raise IslesError(
                "E-TRAIN-01",
                "resume with other settings than the run began with",
                where=str(path),
                found=shown,
                fix="restore the settings, or give another --output_dir",
            )

    def _save(self, engine: Engine) -> None:
        score = float(self.evaluator.state.metrics[self.metric])
        if self.sign * score < self.sign * self.best - self.min_delta:
            self.best, self.best_epoch = score, engine.state.epoch
            if self.writes:
                publish_state(self.folder / "model.pt", self.network.state_dict())
        if not self.writes:
            return
        state = {
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "settings": self.settings,
            "random": torch.get_rng_state(),
            "objects": {name: thing.state_dict() for name, thing in self.objects.items()},
        }
        publish_state(self.folder / f"checkpoint-{engine.state.epoch:04d}.pt", state)
        for old in sorted(self.folder.glob("checkpoint-*.pt"))[: -self.keep]:
            old.unlink()

    def _finish(self, engine: Engine) -> None:
        if not self.writes:
            return
        outcome = f"{engine.state.epoch} epochs, best {self.metric} {self.best:.5f} in epoch {self.best_epoch}"
        self._held.finish({"kind": "training", "outcome": outcome, "settings": self.settings})
        self._held.__exit__(None, None, None)


def _difference(name: str, saved: str, now: str) -> str:
    """Return the first place at which two settings differ, with a little around it."""
    place = next((i for i, (a, b) in enumerate(zip(saved, now, strict=False)) if a != b), min(len(saved), len(now)))
    around = slice(max(0, place - 30), place + 40)
    return f"{name} was '...{saved[around]}', is '...{now[around]}'"
