"""One progress bar over every epoch and case of all folds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from monai_isles.crossval.plan import Plan
from monai_isles.evaluation.crossval_predict import PREDICTIONS

TRAINING, PREDICTION = "training", "prediction"


class FoldBar:
    """Show one bar over every epoch and case of all folds; silent where standard error is not a terminal."""

    def __init__(self, plan: Plan, out: Path) -> None:
        from tqdm import tqdm

        total = len(plan.folds) * plan.max_epochs + sum(map(len, plan.cases.values()))
        self._plan, self._out = plan, out
        self._bar = tqdm(
            total=total, desc="cross-validation", unit="step", disable=not sys.stderr.isatty(), dynamic_ncols=True
        )

    def __enter__(self) -> FoldBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, titles: Mapping[int, str]) -> None:
        """Move to what is done now and name the folds that run."""
        if self._bar.disable:
            return
        done = {fold: self.done(fold) for fold in self._plan.folds}
        self._bar.n = sum(epochs + cases for epochs, cases in done.values())
        self._bar.set_postfix_str(", ".join(self._said(fold, title, *done[fold]) for fold, title in titles.items()))

    def done(self, fold: int) -> tuple[int, int]:
        """Return the epochs and cases of a fold that are done; a training that stopped early counts as whole."""
        folder, plan = self._out / f"fold_{fold}", self._plan
        curves = folder / "curves.csv"
        rows = curves.read_text(encoding="utf-8").count("\n") - 1 if curves.is_file() else 0
        epochs = plan.max_epochs if (folder / "run.json").is_file() else max(rows, 0)
        return epochs, sum((self._out / PREDICTIONS / case / "result.json").is_file() for case in plan.cases[fold])

    def _said(self, fold: int, title: str, epochs: int, cases: int) -> str:
        if title == TRAINING:
            return f"fold {fold} {title} epoch {epochs}/{self._plan.max_epochs}"
        return f"fold {fold} {title} case {cases}/{len(self._plan.cases[fold])}"
