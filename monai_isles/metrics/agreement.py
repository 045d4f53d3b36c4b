"""Do two ways to measure a volume agree: bias and limits of agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from monai_isles.metrics.volume import paired_volumes


def bland_altman(pred_ml: Sequence[float], ref_ml: Sequence[float]) -> dict[str, float | int | None]:
    """Return the bias of the predicted volumes and the limits that hold 95 % of the differences.

    ``bias_ml`` is the mean of prediction minus reference; the limits are ``bias +- 1.96 sd``, sd with n - 1.
    ``bias_ci95`` is the t interval of the bias over cases; ``slope`` is that of the difference over the mean of both
    (least squares): other than 0 where the error grows with the lesion. None where a number does not exist.

    Shapes: one volume a case. Units: ml; slope without.
    Raises: ``E-MET-04`` when the lengths differ.
    Source: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8; ``tests/metrics/test_agreement.py``.
    """
    pred, ref = paired_volumes(pred_ml, ref_ml)
    n = int(pred.size)
    difference, middle = pred - ref, (pred + ref) / 2
    found: dict[str, float | int | None] = dict.fromkeys(("bias_ml", "sd_ml", "lower_ml", "upper_ml", "slope"))
    found |= {"n": n, "bias_ci95": None}
    if n:
        found["bias_ml"] = float(difference.mean())
    if n > 1:
        bias, sd = float(difference.mean()), float(difference.std(ddof=1))
        half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
        found |= {"sd_ml": sd, "lower_ml": bias - 1.96 * sd, "upper_ml": bias + 1.96 * sd}
        found["bias_ci95"] = [bias - half, bias + half]
        spread = float(((middle - middle.mean()) ** 2).sum())
        if spread > 0:
            found["slope"] = float(((middle - middle.mean()) * (difference - bias)).sum()) / spread
    return found
