"""Colours and markers of the figures, chosen to stay apart for colour-blind readers."""

from __future__ import annotations

INK = "#010203"
TRUTH, PREDICTION, HALO = "#ffffff", "#ff8c1a", "#000000"
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = "#3ddc84", "#e0303a", "#3f7dff"
SERIES = ("#0b84d8", "#d55e00", "#0aa078", "#c25fa0", "#b8860b", "#6f6fd8")
MARKERS = ("o", "s", "^", "D", "v", "P")
