"""Judge by the maps whether the frame times can be right."""

from __future__ import annotations

import numpy as np

from monai_isles.io.findings import say_once
from monai_isles.perfusion.maps import PerfusionMaps
from monai_isles.perfusion.quality import Flag, half_width_s

# full width at half height of an arterial bolus and median transit time of healthy brain, in s, as measured here
USUAL_WIDTH_S, USUAL_MTT_S, USUAL_FACTOR = 7.0, 3.9, (0.62, 1.5)
WIDTH_S, MTT_S, CBF = (3.5, 18.0), (1.8, 12.0), (8.0, 180.0)  # a missed vein alone makes a right flow of 150
LEAST_CBV = 0.5  # ml/100 g; less holds no bolus, whatever the clock


def clock_flags(maps: PerfusionMaps, dt_s: float, *, where: str) -> list[Flag]:
    """Judge by physiology whether the frame times can be right: a wrong clock stretches all of these by one factor.

    Looked at: the width of the arterial bolus, and the median transit time and flow of the half of the brain that
    contrast reaches first, which stands for the healthy side. Volume does not depend on the clock:
    where it is next to nothing no factor is stated. It is logged too.

    Source: limits ours, from simulated scans at 1/3 to 3 times their true step; ``tests/perfusion/test_timing.py``.
    """
    inside = maps.brain
    healthy = inside & (maps.tmax <= np.median(maps.tmax[inside]))
    width, mtt, cbf = half_width_s(maps.aif, dt_s), *(float(np.median(m[healthy])) for m in (maps.mtt, maps.cbf))
    factor = float(np.sqrt(width / USUAL_WIDTH_S * mtt / USUAL_MTT_S))
    bounds = ((width, WIDTH_S), (mtt, MTT_S), (cbf, CBF), (factor, USUAL_FACTOR))
    if all(low <= value <= high for value, (low, high) in bounds):
        return []
    text = f"the arterial bolus is {width:.1f} s wide at half its height, and the half of the brain that contrast "
    text += f"reaches first has a median MTT of {mtt:.1f} s and CBF of {cbf:.0f} ml/100 g/min"
    if width > 0 and cbf * mtt / 60.0 >= LEAST_CBV:
        text = f"the frame times may be wrong: {text}; times {'short' if factor < 1 else 'long'} by about "
        text += f"{max(factor, 1 / factor):.1f} would explain it (check the protocol; --dt or --times state them)"
    else:
        text = f"the frame times cannot be judged: {text}; no bolus seems to reach the brain"
    say_once(f"{where}: {text}")
    return [Flag("implausible-times", "warning", text)]
