"""Stop when the paper's metric has not fallen for some epochs."""

from __future__ import annotations

from ignite.engine import Engine, Events


class EarlyStop:
    """Terminate the trainer after ``patience`` epochs in a row without a fall of ``metric`` by more than ``min_delta``.

    Args:
        evaluator, metric: engine and name of the metric to minimise.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3: L1 plus error rate, patience 10.
    """

    def __init__(self, evaluator: Engine, metric: str, patience: int = 10, min_delta: float = 1e-4) -> None:
        self.evaluator, self.metric, self.patience, self.min_delta = evaluator, metric, patience, min_delta
        self.best, self.waited = float("inf"), 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        score = float(self.evaluator.state.metrics[self.metric])
        improved = score < self.best - self.min_delta
        self.waited = 0 if improved else self.waited + 1
        self.best = score if improved else self.best
        if self.waited >= self.patience:
            engine.terminate()

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best, self.waited = state["best"], int(state["waited"])
