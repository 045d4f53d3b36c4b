"""Stop when the paper's metric has not fallen for some epochs."""

from __future__ import annotations

from ignite.engine import Engine, Events

from monai_isles.errors import refused
from monai_isles.training.distributed import agreed


def sign_of(mode: str) -> int:
    """Return the factor that makes the best value of a metric its least: 1 for ``min``, -1 for ``max``.

    Raises:
        IslesError: ``E-TRAIN-05``.
    """
    if mode not in ("min", "max"):
        raise refused("E-TRAIN-05", where="mode", found=repr(mode))
    return 1 if mode == "min" else -1


class EarlyStop:
    """Terminate the trainer after ``patience`` epochs in a row in which ``metric`` got no better by ``min_delta``.

    Several processes go by the first one's value, and so stop together.

    Args:
        evaluator, metric, mode: engine and name of the metric, and whether its ``min`` or its ``max`` is best.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3: L1 plus error rate, patience 10.
        Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.6: Dice, patience 50.
    """

    def __init__(
        self, evaluator: Engine, metric: str, patience: int = 10, min_delta: float = 1e-4, mode: str = "min"
    ) -> None:
        self.evaluator, self.metric, self.patience, self.min_delta = evaluator, metric, patience, min_delta
        self.sign = sign_of(mode)
        self.best, self.waited = self.sign * float("inf"), 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        score = agreed(float(self.evaluator.state.metrics[self.metric]))
        improved = self.sign * score < self.sign * self.best - self.min_delta
        self.waited = 0 if improved else self.waited + 1
        self.best = score if improved else self.best
        if self.waited >= self.patience:
            engine.terminate()

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best, self.waited = state["best"], int(state["waited"])
