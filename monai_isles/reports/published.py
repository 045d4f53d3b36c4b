"""The rows that the papers print, in the form of a summary, to stand below ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_isles.errors import IslesError

_CT = "Clèrigues 2019, ISLES 2018 training, 5 folds"


def published_rows(name: str) -> dict[str, dict[str, Any]]:
    """Return the rows of one paper by method name.

    The paper gives the Hausdorff distance without its unit, so it stands as text under ``hd_mm``. ``threshold`` and
    ``min_size_vox`` are the pair that the paper chose.

    Args:
        name: ``clerigues``.
    Raises:
        IslesError: ``E-REP-09`` for a name that is not here.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Table 1.
    """
    if name not in _ROWS:
        raise IslesError(
            "E-REP-09",
            "no published rows of that name",
            where=name,
            found=f"rows of {', '.join(_ROWS)}",
            fix="choose one of these, or leave the published row out",
        )
    return dict(_ROWS[name])


def _row(chosen: tuple, dsc: tuple, ppv: tuple, sensitivity: tuple, hd: tuple, r2: float) -> Mapping[str, Any]:
    values = {"dsc": dsc, "ppv": ppv, "sensitivity": sensitivity}
    metrics = {key: {"n": 94, "mean": mean / 100, "sd": sd / 100} for key, (mean, sd) in values.items()}
    metrics["hd_mm"] = {"n": 94, "mean": hd[0], "sd": hd[1], "unit": "unit not stated"}
    return {"n": 94, "metrics": metrics, "volumes": {"r2": r2}, "threshold": chosen[0], "min_size_vox": chosen[1]}


_ROWS: dict[str, dict[str, Mapping[str, Any]]] = {
    "clerigues": {
        f"{_CT}: single +RT": _row((0.1, 300), (53.5, 24.6), (51.8, 28.9), (66.0, 25.5), (29.8, 23.9), 0.74),
        f"{_CT}: +RT +SM": _row((0.2, 200), (54.8, 24.8), (58.3, 29.8), (63.7, 25.3), (26.6, 19.9), 0.78),
        f"{_CT}: +RT +SM +UF": _row((0.2, 200), (54.7, 24.2), (57.8, 29.1), (60.9, 25.0), (23.5, 15.8), 0.82),
    }
}
