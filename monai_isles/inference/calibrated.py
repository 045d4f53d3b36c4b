"""Apply a bundle's calibration: of probabilities, of the volume interval, of the confidence of each lesion."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from monai_isles.errors import refused
from monai_isles.metrics.calibration import calibrate


@dataclass(frozen=True)
class Calibration:
    """Hold the content of ``models/calibration.json``.

    Args:
        temperature, shift: of ``monai_isles.metrics.calibrate``.
        volume: bounds on the volume error by size of the prediction, from ``fit_volume_errors``.
        lesions: intercept and slopes of the probability that a predicted lesion is real (``lesion_features``).
        level: share of cases whose volume the interval is to hold.
        about: description of the data of the fit.

    >>> Calibration(2.0, 0.0, [{"up_to_ml": None, "low": -0.5, "high": 0.25, "n": 40}]).interval(9.0)
    (5.065, 11.84)
    """

    temperature: float = 1.0
    shift: float = 0.0
    volume: Sequence[Mapping[str, Any]] = ()
    lesions: Sequence[float] = ()
    level: float = 0.9
    about: str = ""

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """Read a file that holds the fields by name."""
        try:
            result = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
            numbers = [result.temperature, result.shift, result.level, *result.lesions]
            numbers += [float(group[end]) for group in result.volume for end in ("low", "high")]
            if not (all(map(math.isfinite, numbers)) and result.temperature > 0):
                raise ValueError(f"temperature {result.temperature}, shift {result.shift}")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise refused("E-INF-16", where=str(path), found=f"{type(error).__name__}: {error}") from error
        return result

    def probability(self, raw: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities. Shapes: any, kept."""
        return calibrate(raw, self.temperature, self.shift)

    def interval(self, lesion_ml: float) -> tuple[float, float] | None:
        """Return bounds that hold the true volume for the share ``level`` of cases like those of the fit. Units: ml."""
        for group in self.volume:
            if group["up_to_ml"] is None or lesion_ml <= group["up_to_ml"]:
                low, high = (math.expm1(math.log1p(lesion_ml) + group[end]) for end in ("low", "high"))
                return round(max(low, 0.0), 3), round(high, 3)
        return None

    def confidence(self, mean_probability: float, volume_ml: float) -> float | None:
        """Return the probability that a predicted lesion touches a true one; None without a fit."""
        if not self.lesions:
            return None
        intercept, *slopes = self.lesions
        return float(expit(intercept + np.dot(slopes, lesion_features(mean_probability, volume_ml))))


UNCALIBRATED = Calibration()


def lesion_features(mean_probability: float, volume_ml: float) -> tuple[float, float]:
    """Return the features of a predicted lesion: the logit of its mean probability, the logarithm of its ml."""
    return float(logit(np.clip(mean_probability, 1e-4, 1 - 1e-4))), math.log(max(volume_ml, 1e-3))
