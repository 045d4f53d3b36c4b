"""Check the voxel values of one image by its modality: repair what has one right reading, refuse the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from monai_isles.io.findings import ERROR, WARNING, Finding, finding
from monai_isles.modalities import LABEL, MODALITIES, Modality

PROBABILITY = "probability"
MAX_NEGATIVE_SHARE = 0.05
_MARKED_SHARE = 0.1  # of the voxels that are not 0: so many of one negative number mark the background
AIR_HU = -1024.0
MASK_ROUNDING = 1e-3
NAN, INFINITE, NEGATIVE = 1, 2, 4
_SEVERAL_LABELS = (0, 1, 2)
_HOUNSFIELD = ("ct", "ctp")
CROSS = ndimage.generate_binary_structure(2, 1)[..., None]  # the four neighbours in the slice
TISSUE_HU, _BITTEN_SHARE, _MOST_COUNTED = -300.0, 0.2, 500_000
_OFFSETS = (1024.0, 2048.0, 4096.0, 8192.0, 32768.0)  # the peak of brain distinguishes 1000 from 1024
_WRAPPED, _WRAP, _LEAST_SPAN_HU = 57344, 65536, 20.0
_SLIPS = {10: "tenths of a second", 100: "hundredths of a second", 1000: "milliseconds"}
_HEALTHY_S = {"mtt": (5.0, 15.0), "tmax": (1.5, 12.0), "ttp": (18.0, 70.0)}  # usual median, highest believable one
FEW_VOXELS = 2000  # no head: too few for its percentiles or its outline
_LEAST_S = {"mtt": 1.5, "tmax": 1.0, "ttp": 2.0}  # that the 99th percentile of a living head reaches


class Settled(NamedTuple):
    """Hold the values to use, the findings, and where none was measured: ``NAN``, ``INFINITE``, many ``NEGATIVE``."""

    data: np.ndarray
    findings: list[Finding]
    unmeasured: np.ndarray | None = None


def settle_values(
    data: np.ndarray, *, kind: str | None, where: str, label_values: Sequence[int] | None = None
) -> Settled:
    """Return the repaired values of an image and the findings about them.

    CT: padding below -1024 HU is air, an offset (1000, 1024, 2048 ... 32768) and a lost sign are taken back, a picture
    (0..255, 0..1) is refused. Maps: a constant that no map can hold in the background, NaN and infinities are 0, "not
    measured"; ``unmeasured_findings`` refuses such voxels in tissue, for the maps of a case together. Masks: 0/255,
     NaN where no 0 is, and rounding become 0 and 1.

    Shapes: (H, W, D) or (T, H, W, D), RAS+; other shapes for kinds without repairs.  Units: those of the modality.
    Args:
        label_values: the values that mean lesion, where a mask holds several labels; 0, 1, 2 and these may be there.
    """
    low, high = _ends(data)
    finite = np.isfinite(low) and np.isfinite(high)
    if kind == LABEL and (finite or _outlined_by_nan(data)):
        return _settle_mask(data, where, label_values)
    if not finite:
        return _settle_not_finite(data, kind, where)
    if kind == PROBABILITY:
        outside = finding("E-VAL-08", ERROR, where=where, found=f"values from {low:g} to {high:g}")
        return Settled(data, [] if low >= -1e-6 and high <= 1 + 1e-6 else [outside])
    if kind not in MODALITIES:
        return Settled(data, [])
    modality = MODALITIES[kind]
    if low == high:
        code, severity = ("E-VAL-04", ERROR) if low == 0 else ("E-VAL-09", WARNING)
        text = f"every voxel of the {modality.name} is {low:g}"
        return Settled(data, [finding(code, severity, where=where, found=text)])
    data, findings = _settle_ct(data, where) if kind in _HOUNSFIELD else _settle_background(data, modality, where)
    low, high = _ends(data)
    findings += _range_findings(data, low, high, modality, where)
    if not modality.perfusion_map:
        return Settled(data, findings)
    wrong = any(item.severity == ERROR for item in findings)
    findings += [] if wrong else _time_findings(data, modality, where)
    # Of a scale that is wrong the numbers stay as they are: in a case of MR it may be none.
    below, data = data < 0, np.clip(data, 0, np.inf if wrong else modality.highest).astype(data.dtype)
    about = negative_findings(data, below, modality, where, lowest=f", lowest {low:g}")
    many = any(item.severity == ERROR for item in about)
    return Settled(data, findings + about, below * np.uint8(NEGATIVE) if many else None)


def _ends(data: np.ndarray) -> tuple[float, float]:
    return (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)


def _settle_not_finite(data: np.ndarray, kind: str | None, where: str) -> Settled:
    """Replace missing numbers outside the head by air or 0; refuse missing numbers in tissue."""
    lost = np.isnan(data) * np.uint8(NAN) + np.isinf(data) * np.uint8(INFINITE)
    if kind not in MODALITIES or (lost > 0).all():
        return Settled(data, [tissue_finding(lost, None, where)])
    modality = MODALITIES[kind]
    remainder = AIR_HU if kind in _HOUNSFIELD else 0.0
    offset = _offset(_sample(data[lost == 0])) if kind in _HOUNSFIELD else 0.0
    whole = np.where(lost > 0, np.float32(remainder + offset), data).astype(data.dtype)
    inside = 0 if modality.perfusion_map else _count_in_tissue(whole - np.float32(offset), lost > 0, kind)
    if inside:
        return Settled(data, [tissue_finding(lost, inside, where)])
    settled = settle_values(whole, kind=kind, where=where)
    text = f"{_count_text(lost)}: read as {remainder:g} {modality.unit}"
    remark = finding("E-VAL-13", WARNING, where=where, found=text)
    both = lost if settled.unmeasured is None else lost + settled.unmeasured
    return Settled(settled.data, [remark, *settled.findings], both)


def _count_text(lost: np.ndarray) -> str:
    nan, infinite = (int(np.count_nonzero(lost == what)) for what in (NAN, INFINITE))
    return f"{nan} NaN and {infinite} infinite of {lost.size} voxels"


def tissue_finding(lost: np.ndarray, inside: int | None, where: str) -> Finding:
    more = "" if inside is None else f", {inside} of them in tissue"
    return finding("E-VAL-03", ERROR, where=where, found=_count_text(lost) + more)


def _count_in_tissue(whole: np.ndarray, lost: np.ndarray, kind: str) -> int:
    """Return how many of the voxels without a number lie in the head, or are a slice or a large part of one."""
    if whole.ndim != 3:
        whole, lost = whole.reshape(-1, *whole.shape[-3:]).max(0), lost.reshape(-1, *lost.shape[-3:]).max(0)
    least = TISSUE_HU if kind in _HOUNSFIELD else 0.1 * np.percentile(np.abs(whole), 95)
    head = ndimage.binary_fill_holes(whole > least, CROSS)
    between = np.maximum.accumulate(head, 2) & np.maximum.accumulate(head[..., ::-1], 2)[..., ::-1] & lost
    wide = between.sum((0, 1)) > _BITTEN_SHARE * max(1, head.sum((0, 1)).max())
    return int(np.count_nonzero((head & lost) | (between & wide)))


def _settle_ct(data: np.ndarray, where: str) -> tuple[np.ndarray, list[Finding]]:
    """Remove an offset, replace padding by air, and refuse pictures and values that are not HU."""
    words, sample = [], _sample(data)
    high = _share(sample, _WRAPPED, _WRAP)
    # negative HU stored as unsigned 16-bit numbers: brain is as usual, the middle range empty
    if 0 < high == _share(sample, 8192, np.inf) and _share(sample, 5, 80) > 0.04:
        text = f"{int(np.count_nonzero(data > _WRAPPED))} negative numbers stored as unsigned: {_WRAP} is taken off"
        data = np.where(data > _WRAPPED, data - np.float32(_WRAP), data).astype(data.dtype)
        words, sample = [finding("E-VAL-18", WARNING, where=where, found=text)], _sample(data)
    offset = _offset(sample)
    picture = _picture(sample, *_ends(data)) or (None if offset else _no_tissue(sample))
    if picture:
        return data, [finding("E-VAL-14", ERROR, where=where, found=picture)]
    if offset:
        data = data - np.float32(offset)
        text = f"air near {-1000 + offset:g} and tissue near {35 + offset:g}: {offset:g} is taken off"
        words.append(finding("E-VAL-18", WARNING, where=where, found=text))
    padded = int(np.count_nonzero(data < AIR_HU))
    if padded:
        text = f"{padded} of {data.size} voxels below {AIR_HU:g} HU, lowest {float(data.min()):g}"
        data = np.maximum(data, np.float32(AIR_HU)).astype(data.dtype)
        words.append(finding("E-VAL-16", WARNING, where=where, found=text))
        if not (data > TISSUE_HU).any():
            words.append(finding("E-VAL-14", ERROR, where=where, found=f"{text}; no voxel above {TISSUE_HU:g} HU"))
    return data, words


def _sample(data: np.ndarray) -> np.ndarray:
    return data.ravel()[:: max(1, data.size // _MOST_COUNTED)]


def _share(sample: np.ndarray, first: float, last: float) -> float:
    return float(np.mean((sample >= first) & (sample <= last))) if sample.size else 0.0


def _no_tissue(sample: np.ndarray) -> str | None:
    """Return why values cannot be HU (none is in the range of soft tissue and fat), else None."""
    dense = _share(sample, 300, MODALITIES["ct"].highest)  # what lies above that, the range check names
    if dense < 0.3 or _share(sample, -150, 150) > 0.001:
        return None
    return f"{100 * dense:.0f} % of the voxels above 300, none of them between -150 and 150 where soft tissue lies"


def _picture(sample: np.ndarray, low: float, high: float) -> str | None:
    """Return why values are a picture of a CT rather than HU, else None."""
    if high - low < (_LEAST_SPAN_HU if sample.size >= FEW_VOXELS else 0) or (low >= -1 and high <= 1):
        return f"values from {low:g} to {high:g}: scaled to one, or to their spread"
    if low != 0 or high != 255:
        return None
    # A window scaled to 0..255 saturates at both ends and puts brain above 55; HU cut off at 0 and 255 have it near 35.
    inner = sample[(sample > 20) & (sample < 255)]  # without air and its noise
    saturated = min(np.mean(sample <= 0), 100 * np.mean(sample >= 255)) > 0.01
    peak = _peak(inner, 0, 256) if saturated and inner.size else 0
    text = f"values from 0 to 255, saturated at both ends, tissue near {peak}: a window of grey levels"
    return text if peak > 55 else None


def _offset(sample: np.ndarray) -> float:
    """Return the offset of every HU: -1024 if the intercept was applied twice, 0 if there is none."""
    # Told by two peaks at once, air and brain, and by no voxels between them where fat and skin of true HU lie.
    for offset in _OFFSETS if _share(sample, -1100, -100) < 0.01 else ():
        air = _share(sample, offset - 1104, offset - 894)
        if air > 0.05 and _share(sample, offset - 19, offset + 80) > 0.04:
            brain = sample[(sample >= 1005) & (sample <= 1104)]
            return offset if offset != 1024 or _peak(brain, 1005, 100) >= 1044 else 1000.0
    if _share(sample, -1019, -940) > 0.04 and _share(sample, -2124, -1920) > 0.05 and _share(sample, 5, 80) < 0.01:
        return -1024.0
    return 0.0


def _peak(values: np.ndarray, first: int, count: int) -> int:
    """Return where values peak among ``count`` whole numbers from ``first`` on, smoothed over nine of them."""
    counts = np.bincount((values - first).astype(int), minlength=count).astype(float)
    return first + int(ndimage.uniform_filter1d(counts, 9).argmax())


def _settle_background(data: np.ndarray, modality: Modality, where: str) -> tuple[np.ndarray, list[Finding]]:
    """Set a background of one constant to 0: impossible numbers at the edge of the planes, else a negative anywhere."""
    # A map that was moved to another grid has zeros at the edge, around its own background.
    if not modality.perfusion_map or data.ndim != 3 or 0 <= data.min() <= data.max() <= modality.typical_max:
        return data, []
    edge, below = np.concatenate([data[[0, -1]].ravel(), data[:, [0, -1]].ravel()]), data[data < 0]
    for part in (edge, below if below.size > _MARKED_SHARE * np.count_nonzero(data) else below[:0]):
        values, counts = np.unique(part[(part < 0) | (part > modality.typical_max)], return_counts=True)
        if counts.size and counts.max() >= 0.5 * part.size:
            break
    else:
        return data, []
    constant = values[counts.argmax()]
    background = data == constant
    text = f"{int(background.sum())} of {data.size} voxels are {constant:g}"
    remarks = finding("E-VAL-17", WARNING, where=where, found=text, name=modality.name)
    return np.where(background, 0, data).astype(data.dtype), [remarks]


def _settle_mask(data: np.ndarray, where: str, label_values: Sequence[int] | None) -> Settled:
    """Return a mask of 0 and 1; remark rounding, a maximum of 255 and a background of NaN."""
    words, lost = [], np.isnan(data)
    if lost.any():
        words.append(finding("E-VAL-13", WARNING, where=where, found=f"{_count_text(lost * NAN)}: read as 0"))
        data = np.where(lost, 0, data).astype(data.dtype)
    top = 255 if data.size and data.max() > 2 and label_values is None else 1
    near = np.rint(data / top) * top
    if np.abs(data - near).max(initial=0.0) > MASK_ROUNDING * top:
        return Settled(data, words + _label_findings(data, where, label_values))
    if label_values is None and np.isin(near, (0, top)).all():
        if top != 1 or not np.array_equal(near, data):
            text = f"values {', '.join(f'{v:.8g}' for v in np.unique(data)[[0, -1]])}"
            words.append(finding("E-LBL-04", WARNING, where=where, found=text, top=top))
        return Settled((near / top).astype(data.dtype), words)
    words += _label_findings(near if label_values is not None else data, where, label_values)
    if label_values is not None:
        near = np.isin(near, tuple(label_values))
    return Settled(near.astype(data.dtype), words)


def _outlined_by_nan(data: np.ndarray) -> bool:
    """Return whether NaN must be the background of a mask: it contains no 0."""
    held = data[~np.isnan(data)]
    return held.size > 0 and any((np.abs(held - top) <= MASK_ROUNDING * top).all() for top in (1, 255))


def _label_findings(data: np.ndarray, where: str, label_values: Sequence[int] | None) -> list[Finding]:
    values, counts = np.unique(data, return_counts=True)
    allowed = (0, 1) if label_values is None else tuple(sorted({*_SEVERAL_LABELS, *label_values}))
    if np.isin(values, allowed).all():
        return []
    listed = ", ".join(f"{v:g} ({c} voxels)" for v, c in zip(values[:8], counts[:8], strict=True))
    more = f", and {len(values) - 8} further values" if len(values) > 8 else ""
    two = len(values) == 2 and values[0] == 0
    top = f"map {values[-1]:g} to 1 if it means lesion" if two else "decide which values mean lesion"
    text, most = f"values {listed}{more}", ", ".join(map(str, allowed[:-1]))
    return [finding("E-LBL-01", ERROR, where=where, found=text, allowed=most, allowed2=allowed[-1], top=top)]


def negative_findings(
    data: np.ndarray,
    below: np.ndarray,
    modality: Modality,
    where: str,
    *,
    lowest: str = "",
    most: float = MAX_NEGATIVE_SHARE,
) -> list[Finding]:
    """Return a remark on the voxels ``below`` 0 of a map, which are 0 in ``data``, or an error if they are many."""
    if not (negative := int(np.count_nonzero(below))):
        return []
    brain = negative + int(np.count_nonzero(data))
    many = negative > most * brain
    share = f" ({negative / brain:.0%})" if many else ""
    text = f"{negative} of {brain} non-zero voxels{share} below 0{lowest}"
    code, severity = ("E-VAL-06", ERROR) if many else ("E-VAL-10", WARNING)
    return [finding(code, severity, where=where, found=text, name=modality.name, max_negative_share=most)]


def _range_findings(data: np.ndarray, low: float, high: float, modality: Modality, where: str) -> list[Finding]:
    too_low = low < modality.lowest and not modality.perfusion_map
    beyond = float(np.mean(data[data != 0] > modality.typical_max)) if high > modality.typical_max else 0.0
    many = beyond > 0.01
    if high <= modality.highest and not many and not too_low:
        return []
    usual = beyond < 0.2 and 0 < healthy_median(data) <= _HEALTHY_S["mtt"][1]
    if modality.key == "mtt" and (usual or not many):  # CBV divided by CBF
        text = f"{np.count_nonzero(data > modality.typical_max)} of {np.count_nonzero(data)} non-zero voxels above"
        text += f" {modality.typical_max:g} {modality.unit}, highest {high:g}; read as {modality.highest:g} at most"
        fix = "no action is needed where hardly any blood flows: a quotient with it has no bound"
        return [finding("E-VAL-05", WARNING, where=where, found=text, fix=fix, name=modality.name)]
    typical = float(np.percentile(data[data != 0], 99))
    lowest = "" if modality.perfusion_map else f", at least {modality.lowest:g}"
    text = f"values from {low:g} to {high:g}, 99th percentile {typical:g} {modality.unit}; at most {modality.highest:g}"
    text += f", 99th percentile at most {modality.typical_max:g}{lowest} expected"
    fix = _likely(data, high, typical, modality)
    return [finding("E-VAL-05", ERROR, where=where, found=text, fix=fix, name=modality.name)]


def _likely(data: np.ndarray, high: float, typical: float, modality: Modality) -> str:
    if modality.key in _HEALTHY_S:
        return _likely_time(healthy_median(data), modality)
    need = max(high / modality.highest, typical / modality.typical_max)
    factor = next((f for f in (10, 100, 1000) if need <= f), None)
    if factor is None or need <= 1:
        return f"check the scale factors (scl_slope, scl_inter) and that this is {modality.name} in {modality.unit}"
    return f"likely a scale factor of {factor} or more: divide, so that the values are in {modality.unit}"


def _likely_time(median: float, modality: Modality) -> str:
    usual = _HEALTHY_S[modality.key][0]
    factor = 10 ** int(np.clip(np.rint(np.log10(max(median, usual) / usual)), 1, 3))
    return f"likely {_SLIPS[factor]}: divide by {factor} to get {modality.unit}"


def _time_findings(data: np.ndarray, modality: Modality, where: str) -> list[Finding]:
    """Return a remark if the healthier side indicates another unit of time than seconds."""
    if modality.key not in _HEALTHY_S or data.ndim != 3:
        return []
    (usual, highest), measured = _HEALTHY_S[modality.key], data[data > 0]
    if not measured.size:
        return []
    median, most = healthy_median(data), float(np.percentile(measured, 99))
    least = _LEAST_S[modality.key] if measured.size >= FEW_VOXELS else 0.0
    if median <= highest and most >= least:
        return []
    text, likely = f"median of the healthier side {median:.3g} {modality.unit}; at most {highest:g}", ""
    if most < least:
        text = f"99th percentile {most:.3g} {modality.unit}; at least {least:g}"
        factor = 10 ** int(np.clip(np.rint(np.log10(usual / median)), 1, 3))
        likely = f"likely divided by {factor} too often, or minutes: multiply to get {modality.unit}"
    words = {"name": modality.name, "likely": likely or _likely_time(median, modality)}
    return [finding("E-VAL-15", WARNING, where=where, found=f"{text} expected", **words)]


def healthy_median(data: np.ndarray) -> float:
    """Return the median of a map of times (H, W, D), RAS+, over the brain's half with the lower one; 0 without."""
    brain = data > 0
    columns = np.flatnonzero(brain.any((1, 2))) if data.ndim == 3 else np.empty(0, int)
    if not columns.size:
        return 0.0
    middle = (int(columns[0]) + int(columns[-1]) + 1) // 2
    sides = [side[side > 0] for side in (data[:middle], data[middle:])]
    return float(min(np.median(side) for side in sides if side.size))
