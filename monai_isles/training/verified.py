"""Load verified weights into MONAI's evaluators and write their metrics as whole files."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from uuid import uuid4

from ignite.engine import Engine, Events
from monai.handlers import MetricsSaver
from torch import nn

from monai_isles.bundle.bundle import Bundle
from monai_isles.inference.predictor import require_fit
from monai_isles.io.publish import PART, publish_together
from monai_isles.io.weights import load_state


class VerifiedWeights:
    """Load a state dictionary into the network when the run starts, like MONAI's CheckpointLoader, with checksums.

    The archive's own checksums are compared, and the SHA-256 if the file lies in a bundle that states one.

    Args:
        path: file of the weights.
        network: the network itself or a parallel wrapper around it.
    Raises:
        IslesError: those of ``monai_isles.io.load_state``, ``E-INF-12`` for weights of another network.

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
        state = load_state(self.path, sha256=Bundle(self.path.absolute().parents[1], (self.path.stem,)).weights_sha256)
        require_fit(self.network, state, self.path)
        self.network.load_state_dict(state)


class WholeMetricsSaver(MetricsSaver):
    """Save metrics like MONAI's MetricsSaver; all tables appear together, each one whole.

    Raises:
        IslesError: ``E-FILE-10`` when they cannot be written.

    >>> WholeMetricsSaver("results", metrics=["dice"]).save_dir
    'results'
    """

    def __call__(self, engine: Engine) -> None:
        final = Path(self.save_dir)
        aside = final / f"{PART}{uuid4().hex[:8]}-metrics"
        self.save_dir = str(aside)
        try:
            super().__call__(engine)
            made = sorted(aside.iterdir()) if aside.is_dir() else []
            if made:
                publish_together([(final / path.name, partial(shutil.copyfile, path)) for path in made])
        finally:
            self.save_dir = str(final)
            shutil.rmtree(aside, ignore_errors=True)
