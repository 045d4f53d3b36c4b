"""Write checkpoints atomically, also where SIGTERM stops a run; resume from them exactly; load verified weights."""

from __future__ import annotations

import atexit
import logging
import math
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from monai.handlers import MetricsSaver
from torch import nn

from monai_isles.bundle.bundle import Bundle
from monai_isles.errors import IslesError, refused
from monai_isles.inference.predictor import require_fit
from monai_isles.io.findings import tell_counts
from monai_isles.io.publish import folder_aside, publish_together
from monai_isles.io.runs import RunFolder, read_record
from monai_isles.io.weights import load_state, publish_state
from monai_isles.sampling.cases import left_out_reasons
from monai_isles.training.distributed import from_first, world_size
from monai_isles.training.schedules import ran_in, read_metric, sign_of

log = logging.getLogger(__name__)
_KEPT = 2  # the last may be damaged
_ADDED = ("metric", "preparation", "bf16")  # checkpoints written before these were compared can be resumed
EXIT_TERMINATED = 143


def terminate(number: int, frame: FrameType | None) -> None:
    """End this process with exit code 143, as its handler of SIGTERM."""
    raise SystemExit(EXIT_TERMINATED)


def require_unfinished(folder: Path) -> None:
    """Refuse a folder with the ``run.json`` of a finished run, of this command or of another one."""
    done = folder / "run.json"
    if done.exists():
        record = read_record(done)
        foreign = {"fault": "this folder holds the results of another command", "fix": "give another --output_dir"}
        found, text = str(record.get("outcome", done.name)), {} if "outcome" in record else foreign
        raise refused("E-TRAIN-02", where=str(folder), found=found, **text)


class StopSignal:
    """Note a SIGTERM while an engine runs, so that the engine's handlers can save and stop.

    The first one is noted; the second ends the process at once. Without an earlier ``plain_exits`` this has no effect.
    """

    def __init__(self) -> None:
        self.requested = False

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._watch)
        engine.add_event_handler(Events.COMPLETED, self._leave)

    def stop(self) -> None:
        """End the process if a SIGTERM came: its state is saved."""
        if self.requested:
            raise SystemExit(EXIT_TERMINATED)

    def _watch(self, engine: Engine) -> None:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, self._note)

    def _leave(self, engine: Engine) -> None:
        if signal.getsignal(signal.SIGTERM) == self._note:
            signal.signal(signal.SIGTERM, terminate)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise SystemExit(EXIT_TERMINATED)
        self.requested = True
        log.warning("SIGTERM received: saving at the end of this iteration, or of the current validation")


def start_within(engine: Engine, iterations: int, then: Callable[[], None]) -> None:
    """Let the first epoch of ``engine`` start after that many iterations: their batches are skipped."""

    def pass_over(engine: Engine) -> None:
        once.remove()
        batches = cast(Iterator[object], engine._dataloader_iter)
        for _ in range(iterations):
            next(batches)
        then()

    once = engine.add_event_handler(Events.GET_BATCH_STARTED, pass_over)


class Checkpoints:
    """Save the complete state of a run after each epoch; keep the last two checkpoints and the best weights.

    ``checkpoint-NNNN.pt`` holds the states of ``objects``, the random state and the fingerprint of the settings;
    ``model.pt`` holds the network's best weights alone. All files appear whole. SIGTERM also saves within an epoch
    (``checkpoint-NNNN-IIIIII.pt``: in epoch NNNN after IIIIII iterations), then the process ends with exit code 143;
    with several processes the last epoch's checkpoint stands.
    The folder is locked from ``resume`` on; ``run.json`` comes last and means that the run is finished. Its
    ``left_out`` names the cases that the loaders among ``describe`` and the folder's data list left out, each with why.

    Args:
        network: its state dict goes to ``model.pt`` when the metric is the best so far by more than ``min_delta``.
        evaluator, metric, mode: as of ``EarlyStop``; without an engine the last epoch's weights are kept.
        objects: what else has a state: the optimiser, the early stop, the curves.
        describe: named objects whose ``repr`` states the settings; a resume with others or another ``metric`` is
            refused, but for one with ``auto``, which the machine chose.
        writes: False in all processes but the first, which reads for all of them: the others need no access to
            ``folder``.
        force: continue although the settings differ from the checkpoint's, and log the difference; the new ones hold.
        anew: start again if the folder's run is finished, as MONAI Label does for its next training.
        initial_weights: file of weights of this network that a new run starts from (fine-tuning).
    Raises: ``E-TRAIN-01`` for other settings than the checkpoint's, ``E-TRAIN-02`` for a finished run, ``E-INF-12`` for
    initial weights of another network.

    >>> from ignite.engine import Engine
    >>> from torch import nn
    >>> trainer = Engine(lambda engine, batch: None)
    >>> checkpoints = Checkpoints("run", nn.Linear(2, 1), None, "val_loss", objects={}, describe={"lr": 0.1})
    >>> checkpoints.attach(trainer)  # the folder is written at the end of the first epoch
    >>> checkpoints.best
    inf
    """

    def __init__(
        self,
        folder: str,
        network: torch.nn.Module,
        evaluator: Engine | None,
        metric: str,
        objects: Mapping[str, Any],
        describe: Mapping[str, Any],
        min_delta: float = 0.0,
        writes: bool = True,
        mode: str = "min",
        force: bool = False,
        anew: bool = False,
        initial_weights: str | None = None,
    ) -> None:
        self.folder, self.network, self.evaluator, self.metric = Path(folder), network, evaluator, metric
        self.objects = {"network": network, **objects}
        self.settings = {name: " ".join(repr(thing).split()) for name, thing in {**describe, "metric": metric}.items()}
        self.loaders = tuple(describe.values())
        self.of_the_machine = {name for name, thing in describe.items() if getattr(thing, "auto", False)}
        self.initial_weights = Path(initial_weights) if initial_weights else None
        if self.initial_weights:
            self.settings["initial_weights"] = str(self.initial_weights)
        self.min_delta, self.writes, self.force, self.anew = min_delta, writes, force, anew
        self._held, self._stop = RunFolder(folder), StopSignal()
        self.sign = sign_of(mode)
        self.forget_best()

    def attach(self, engine: Engine) -> None:
        if self.writes and world_size() == 1:
            self._stop.attach(engine)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_within)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def forget_best(self) -> None:
        """Forget the best score, which belongs to another task; the next epoch becomes the best."""
        self.best, self.best_epoch = self.sign * float("inf"), 0

    def resume(self, engine: Engine) -> int:
        """Load the newest readable checkpoint into all objects and ``engine``; return its epoch.

        Without a checkpoint load the initial weights, if there are any, and return 0.
        """
        if self.writes:
            if self.anew and (self.folder / "run.json").is_file():
                for old in (*self.folder.glob("checkpoint-*.pt"), self.folder / "run.json"):
                    old.unlink()
            require_unfinished(self.folder)
            self._held.__enter__()
            atexit.register(self._held.__exit__, None, None, None)
        state, path = from_first(self._newest() if self.writes else (None, self.folder))
        if state is None:
            self._load_initial_weights()
            return 0
        self._require_same_settings(state["settings"], path)
        # another number of processes, or forced settings, share an epoch's batches differently
        loader = getattr(engine, "data_loader", None)
        length = state["epoch_length"] if loader is None else len(loader)
        done = int(state.get("iteration", 0)) if length == state["epoch_length"] else 0
        self._restore(state)
        if "scaler" in state:  # of a GPU; MONAI makes it as the run begins
            engine.add_event_handler(Events.STARTED, lambda: _load_scaler(engine, state["scaler"]))
        if state["epoch"] >= engine.state.max_epochs or (state.get("ended", False) and not self.force):
            # Nothing is left but the record; ignite would start the run again.
            def end() -> None:
                engine.state.epoch = state["epoch"]
                engine.terminate()

            engine.add_event_handler(Events.STARTED, end)
        at = {"iteration": state["epoch"] * length + done} if done else {"epoch": state["epoch"]}
        most = max(state["epoch"], engine.state.max_epochs)  # ignite refuses a number that is reached already
        engine.load_state_dict({**at, "epoch_length": length, "max_epochs": most})
        if done:
            start_within(engine, done, lambda: self._restore(state))
        within = f" and {done} iterations" if done else ""
        log.warning("resuming after epoch %d%s of %s", state["epoch"], within, path)
        return int(state["epoch"])

    def _load_initial_weights(self) -> None:
        if self.initial_weights is None:
            return
        weights = from_first(_load_verified(self.initial_weights, self.network) if self.writes else None)
        # where an average is kept, the network that learns is another module than the one that is saved
        for network in (self.network, getattr(self.objects.get("average"), "network", self.network)):
            network.load_state_dict(weights)
        log.warning("training starts from the weights of %s", self.initial_weights)

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, thing in self.objects.items():
            # forced, other options of an optimiser hold; the same ones may have been moved by a schedule since
            changed = self.force and state["settings"].get(name) != self.settings.get(name)
            groups = getattr(thing, "param_groups", []) if changed else []
            kept = [{key: value for key, value in group.items() if key != "params"} for group in groups]
            plan = {key: value for key, value in vars(thing).items() if self.force and key in ("milestones", "gamma")}
            thing.load_state_dict(state["objects"].get(name, {}))
            vars(thing).update(plan)
            for group, own in zip(getattr(thing, "param_groups", []), kept, strict=False):
                group.update(own)
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"])

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
            raise refused("E-TRAIN-04", where=str(self.folder), found="; ".join(faults))
        return None, self.folder

    def _require_same_settings(self, saved: Mapping[str, str], path: Path) -> None:
        saved = {name: self.settings[name] for name in _ADDED if name in self.settings} | dict(saved)
        changed = [name for name in {**saved, **self.settings} if saved.get(name) != self.settings.get(name)]
        if not changed:
            return
        shown = "; ".join(_difference(n, saved.get(n, "nothing"), self.settings.get(n, "nothing")) for n in changed)
        if self.force or self.of_the_machine.issuperset(changed):
            log.warning("going on with other settings than %s had: %s", path, shown)
            return
        raise refused("E-TRAIN-01", where=str(path), found=shown)

    def _save(self, engine: Engine) -> None:
        if self._is_improved(engine):
            self.best_epoch = engine.state.epoch
            if self.writes:
                publish_state(self.folder / "model.pt", self.network.state_dict())
        if self.writes:
            self._write(f"{engine.state.epoch:04d}", engine, epoch=engine.state.epoch)
            self._stop.stop()

    def _is_improved(self, engine: Engine) -> bool:
        """Return whether to keep this epoch's weights: the best, or the last ones before any validation."""
        if self.evaluator is None:
            return True
        if not ran_in(engine, self.evaluator):
            return math.isinf(self.best)
        score = read_metric(self.evaluator, self.metric)
        better = self.sign * score < self.sign * self.best - self.min_delta
        self.best = score if better else self.best
        return better

    def _save_within(self, engine: Engine) -> None:
        done = engine.state.iteration % cast(int, engine.state.epoch_length)
        if self._stop.requested and done:
            within = {"epoch": engine.state.epoch - 1, "iteration": done}
            self._write(f"{engine.state.epoch:04d}-{done:06d}", engine, **within)
            self._stop.stop()

    def _write(self, name: str, engine: Engine, **place: int) -> None:
        state = {
            **place,
            "epoch_length": engine.state.epoch_length,
            "ended": bool(engine.should_terminate),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "settings": self.settings,
            "random": torch.get_rng_state(),
            "objects": {name: thing.state_dict() for name, thing in self.objects.items()},
        }
        if torch.cuda.is_available():
            state["random_cuda"] = torch.cuda.get_rng_state()
        if (scaler := getattr(engine, "scaler", None)) is not None:
            state["scaler"] = scaler.state_dict()
        publish_state(self.folder / f"checkpoint-{name}.pt", state)
        for old in sorted(self.folder.glob("checkpoint-*.pt"))[:-_KEPT]:
            old.unlink()

    def _finish(self, engine: Engine) -> None:
        if not self.writes:
            return
        result = f"best {self.metric} {self.best:.5f} in epoch {self.best_epoch}"
        result = "no validation: the last one is kept" if math.isinf(self.best) else result
        outcome = f"{engine.state.epoch} epochs, {result}"
        finish_training(self._held, outcome, self.loaders, self.settings)
        self._held.__exit__(None, None, None)


def _load_scaler(engine: Engine, state: dict[str, Any]) -> None:
    if (scaler := getattr(engine, "scaler", None)) is not None:  # none in a training in 32 bits
        scaler.load_state_dict(state)


def finish_training(held: RunFolder, outcome: str, sources: Sequence[object], settings: Mapping[str, str]) -> None:
    """Write ``run.json`` of a training, with the cases that its data list or ``sources`` left out."""
    left_out = left_out_reasons(held.path, sources)
    tell_counts()
    held.finish({"kind": "training", "outcome": outcome, "left_out": left_out, "settings": settings})


def _difference(name: str, saved: str, now: str) -> str:
    """Return the first place at which two settings differ, with some text around it."""
    place = next((i for i, (a, b) in enumerate(zip(saved, now, strict=False)) if a != b), min(len(saved), len(now)))
    around = slice(max(0, place - 30), place + 40)
    return f"{name} was '...{saved[around]}', is '...{now[around]}'"


class VerifiedWeights:
    """Load a state dictionary into the network when the run starts, like MONAI's CheckpointLoader, with checksums.

    The archive's own checksums are compared, and the SHA-256 if the file lies in a bundle that states one.

    Args:
        network: the network itself or a parallel wrapper around it.
    Raises: those of ``monai_isles.io.load_state``, ``E-INF-12`` for weights of another network.

    >>> engine = Engine(lambda engine, batch: None)
    >>> weights = VerifiedWeights("bundles/clerigues/models/model.pt", nn.Linear(2, 1))
    >>> weights.attach(engine)  # loads the file when the engine starts
    >>> engine.has_event_handler(weights, Events.STARTED)
    True
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path, self.network = Path(path), getattr(network, "module", network)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.network.load_state_dict(_load_verified(self.path, self.network))


def _load_verified(path: Path, network: nn.Module) -> dict[str, Any]:
    """Load weights that fit the network and match the checksum of the bundle that contains them, if any."""
    state = load_state(path, sha256=Bundle(path.absolute().parent.parent, (path.stem,)).weights_sha256)
    require_fit(network, state, path)
    return state


class WholeMetricsSaver(MetricsSaver):
    """Save metrics like MONAI's MetricsSaver; all tables appear together, each one whole.

    Raises: ``E-FILE-10`` when they cannot be written.

    >>> WholeMetricsSaver("results", metrics=["dice"]).save_dir
    'results'
    """

    def __call__(self, engine: Engine) -> None:
        final = Path(self.save_dir)
        with folder_aside(final / "metrics") as aside:
            self.save_dir = str(aside)
            try:
                super().__call__(engine)
            finally:
                self.save_dir = str(final)
            made = sorted(aside.iterdir()) if aside.is_dir() else []
            if made:
                publish_together([(final / path.name, partial(shutil.copyfile, path)) for path in made])
