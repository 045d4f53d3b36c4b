"""Judge the voxel values of one image by its modality: finite, not empty, in the plausible range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_isles.io.findings import ERROR, WARNING, Finding, finding
from monai_isles.modalities import LABEL, MODALITIES, Modality

PROBABILITY = "probability"
MAX_NEGATIVE_SHARE = 0.05
_UNIT_SLIPS = {"tmax": "milliseconds", "mtt": "milliseconds", "ttp": "milliseconds"}
_SEVERAL_LABELS = (0, 1, 2)


def value_findings(
    data: np.ndarray, *, kind: str | None, where: str, label_values: Sequence[int] | None = None
) -> list[Finding]:
    """Return what is wrong or odd with the values of an image of one kind.

    Args:
        data: any shape; physical values, after the header's scale factors.
        kind: a modality key, ``label``, ``probability``, or None for finiteness only.
        where: the case and file to name.
        label_values: the values that mean lesion, where a mask holds several labels; 0, 1, 2 and these may be there.
    Source: ours; cases E1 to E4, E7, E11, E12, F1 to F3 of the reliability list, ``tests/io/test_values.py``.
    """
    low, high = (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        return [_not_finite(data, where)]
    if kind == LABEL:
        return _label_findings(data, where, label_values)
    if kind == PROBABILITY:
        return _probability_findings(low, high, where)
    if kind not in MODALITIES:
        return []
    modality = MODALITIES[kind]
    if low == high:
        return [_flat(low, modality, where)]
    return _negative_findings(data, low, modality, where) + _range_findings(data, low, high, modality, where)


def clip_negatives(data: np.ndarray, *, kind: str | None) -> np.ndarray:
    """Return a perfusion map with its negative voxels at 0; ``value_findings`` counts them and refuses many."""
    if kind not in MODALITIES or not MODALITIES[kind].perfusion_map or not data.size or data.min() >= 0:
        return data
    return np.maximum(data, 0)


def _not_finite(data: np.ndarray, where: str) -> Finding:
    nan, inf = int(np.isnan(data).sum()), int(np.isinf(data).sum())
    return finding("E-VAL-03", ERROR, where=where, found=f"{nan} NaN and {inf} infinite of {data.size} voxels")


def _flat(value: float, modality: Modality, where: str) -> Finding:
    if value == 0:
        return finding("E-VAL-04", ERROR, where=where, found=f"every voxel of the {modality.name} is 0")
    return finding("E-VAL-09", WARNING, where=where, found=f"every voxel of the {modality.name} is {value:g}")


def lesion_only(data: np.ndarray, *, kind: str | None, label_values: Sequence[int] | None) -> np.ndarray:
    """Return a mask with 1 where one of ``label_values`` stands and 0 elsewhere; other images as they are."""
    if kind != LABEL or label_values is None:
        return data
    return np.isin(data, tuple(label_values)).astype(data.dtype)


def _label_findings(data: np.ndarray, where: str, label_values: Sequence[int] | None) -> list[Finding]:
    values, counts = np.unique(data, return_counts=True)
    allowed = (0, 1) if label_values is None else tuple(sorted({*_SEVERAL_LABELS, *label_values}))
    if np.isin(values, allowed).all():
        return []
    listed = ", ".join(f"{v:g} ({c} voxels)" for v, c in zip(values[:8], counts[:8], strict=True))
    more = f", and {len(values) - 8} further values" if len(values) > 8 else ""
    top = (
        f"map {values[-1]:g} to 1 if it means lesion"
        if len(values) == 2 and values[0] == 0
        else "decide which values mean lesion"
    )
    return [
        finding(
            "E-LBL-01",
            ERROR,
            where=where,
            found=f"values {listed}{more}",
            allowed=", ".join(map(str, allowed[:-1])),
            allowed2=allowed[-1],
            top=top,
        )
    ]


def _probability_findings(low: float, high: float, where: str) -> list[Finding]:
    if low >= -1e-6 and high <= 1 + 1e-6:
        return []
    return [finding("E-VAL-08", ERROR, where=where, found=f"values from {low:g} to {high:g}")]


def _negative_findings(data: np.ndarray, low: float, modality: Modality, where: str) -> list[Finding]:
    if not modality.perfusion_map or low >= 0:
        return []
    negative, brain = int((data < 0).sum()), max(1, int(np.count_nonzero(data)))
    if negative <= MAX_NEGATIVE_SHARE * brain:
        return [
            finding(
                "E-VAL-10",
                WARNING,
                where=where,
                found=f"{negative} of {brain} non-zero voxels below 0, lowest {low:g}",
                name=modality.name,
            )
        ]
    return [
        finding(
            "E-VAL-06",
            ERROR,
            where=where,
            found=f"{negative} of {brain} non-zero voxels ({negative / brain:.0%}) below 0, lowest {low:g}",
            name=modality.name,
            max_negative_share=MAX_NEGATIVE_SHARE,
        )
    ]


def _range_findings(data: np.ndarray, low: float, high: float, modality: Modality, where: str) -> list[Finding]:
    too_low = low < modality.lowest and not modality.perfusion_map
    many = high > modality.typical_max and _share_above(data, modality.typical_max) > 0.01
    if high <= modality.highest and not many and not too_low:
        return []
    typical = float(np.percentile(data[data != 0], 99))
    found = f"values from {low:g} to {high:g}, 99th percentile {typical:g} {modality.unit}"
    bounds = f"at most {modality.highest:g}, 99th percentile at most {modality.typical_max:g}"
    lowest = "" if modality.perfusion_map else f", at least {modality.lowest:g}"
    return [
        finding(
            "E-VAL-05",
            ERROR,
            where=where,
            found=f"{found}; {bounds}{lowest} expected",
            fix=_likely(high, typical, modality),
            name=modality.name,
        )
    ]


def _share_above(data: np.ndarray, bound: float) -> float:
    return np.count_nonzero(data > bound) / max(1, np.count_nonzero(data))


def _likely(high: float, typical: float, modality: Modality) -> str:
    need = max(high / modality.highest, typical / modality.typical_max)
    factor = next((f for f in (10, 100, 1000) if need <= f), None)
    if factor is None or need <= 1:
        return f"check the scale factors (scl_slope, scl_inter) and that this is a {modality.name} in {modality.unit}"
    if modality.key in _UNIT_SLIPS:
        return f"likely {_UNIT_SLIPS[modality.key]}: divide by 1000 to get {modality.unit}"
    return f"likely a scale factor of {factor} or more: divide, so that the values are in {modality.unit}"
