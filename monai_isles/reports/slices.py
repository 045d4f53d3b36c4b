"""Choose the slices to show, their crop, and their orientation on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monai_isles.modalities import PERFUSION_MAPS

ANATOMY = ("ct", "flair", "t1", "t1c", "t2", "dwi", "adc")
MAPS = ("cbf", "cbv", "mtt", "ttp", "tmax")
AIR_HU = -300.0
DEEP, DEEP_SLICES = 32, 14


def chosen_slices(
    lesion: np.ndarray, truth: np.ndarray | None, probability: np.ndarray | None, *, most: int
) -> list[int]:
    """Return up to ``most`` slices, lowest first: spread over the lesion, the largest section among them.

    Without lesion on either side the slices with the highest probability stand in, without that the middle one.

    Shapes: (H, W, D) each.
    """
    marked = lesion.astype(bool) if truth is None else lesion.astype(bool) | truth.astype(bool)
    areas = marked.sum(axis=(0, 1))
    result = np.flatnonzero(areas)
    if not result.size and probability is not None and probability.any():
        areas = probability.max(axis=(0, 1))
        result = np.sort(np.argsort(-areas, kind="stable")[: min(most, 2)])
    if not result.size:
        return [lesion.shape[2] // 2]
    if result.size <= most:
        return result.tolist()
    spread = result[((np.arange(most) + 0.5) * result.size / most).astype(int)]
    largest = result[np.argmax(areas[result])]
    spread[np.argmin(np.abs(spread - largest))] = largest
    return spread.tolist()


def even_indices(count: int, most: int) -> list[int]:
    """Return up to ``most`` of ``count`` indices, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def shown_slices(
    lesion: np.ndarray,
    truth: np.ndarray | None,
    probability: np.ndarray | None,
    images: Mapping[str, np.ndarray],
    *,
    most: int,
) -> list[int]:
    """Return ``chosen_slices``; of a volume deeper than 32 slices always 14, the rest spread evenly over the head."""
    if lesion.shape[2] <= DEEP:
        return chosen_slices(lesion, truth, probability, most=most)
    marked = any(array is not None and array.any() for array in (lesion, truth, probability))
    chosen = chosen_slices(lesion, truth, probability, most=DEEP_SLICES) if marked else []
    result = np.flatnonzero(head(images, lesion.shape).any(axis=(0, 1)))
    ends = [int(result[0]), int(result[-1])] if result.size else [0, lesion.shape[2] - 1]
    first, last = min(ends + chosen), max(ends + chosen)
    while len(chosen) < min(DEEP_SLICES, last - first + 1):
        edges = [first - 1, *chosen, last + 1]
        widest = int(np.argmax(np.diff(edges)))
        chosen = sorted([*chosen, (edges[widest] + edges[widest + 1]) // 2])
    return chosen


def brain(images: Mapping[str, np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """Return the mask where any perfusion map is above 0, else where any MR image is, else everywhere."""
    keys = [key for key in PERFUSION_MAPS if key in images] or [k for k in ANATOMY[1:] if k in images]
    return np.any([images[key] > 0 for key in keys], axis=0) if keys else np.ones(shape, bool)


def head(images: Mapping[str, np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """Return the mask of the head: maps above 0, else CT above -300 HU, else MR above a tenth of its bright end."""
    if any(key in images for key in PERFUSION_MAPS):
        return brain(images, shape)
    if "ct" in images:
        return (images["ct"] > AIR_HU) & (images["ct"] != 0)
    inside = np.zeros(shape, bool)
    for key in (key for key in ANATOMY if key in images):
        bright = images[key] > 0
        if bright.any():
            inside |= images[key] > 0.1 * np.percentile(images[key][bright], 99)
    return inside


def head_box(
    images: Mapping[str, np.ndarray], shape: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[slice, slice]:
    """Return the in-plane box around the head, 12 mm wider on each side; the whole plane without one."""
    inside = np.any(head(images, shape), axis=2)
    if not inside.any():
        return slice(0, shape[0]), slice(0, shape[1])
    return _around(np.any(inside, axis=1), spacing_mm[0]), _around(np.any(inside, axis=0), spacing_mm[1])


def on_screen(volume: np.ndarray, k: int, box: tuple[slice, slice]) -> np.ndarray:
    """Return slice ``k`` (rows, columns) as the radiologist sees it: front up, the patient's right on the left."""
    return volume[box[0], box[1], k][::-1, ::-1].T


def _around(line: np.ndarray, spacing: float) -> slice:
    first, last = np.flatnonzero(line)[[0, -1]]
    margin = int(np.ceil(12.0 / spacing))
    return slice(max(0, int(first) - margin), min(line.size, int(last) + 1 + margin))
