"""Which slices to show, where to cut them, and how they lie on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monai_isles.modalities import PERFUSION_MAPS

MARGIN_MM = 12.0
AIR_HU = -300.0


def chosen_slices(
    lesion: np.ndarray, truth: np.ndarray | None, probability: np.ndarray | None, *, most: int
) -> list[int]:
    """Return up to ``most`` slices, lowest first: spread over the lesion, the largest section among them.

    Without lesion on either side the slices with the highest probability stand in, without that the middle one.

    Shapes: (H, W, D) each.
    """
    marked = lesion.astype(bool) if truth is None else lesion.astype(bool) | truth.astype(bool)
    areas = marked.sum(axis=(0, 1))
    found = np.flatnonzero(areas)
    if not found.size and probability is not None and probability.any():
        areas = probability.max(axis=(0, 1))
        found = np.sort(np.argsort(-areas, kind="stable")[: min(most, 2)])
    if not found.size:
        return [lesion.shape[2] // 2]
    if found.size <= most:
        return found.tolist()
    spread, largest = found[((np.arange(most) + 0.5) * found.size / most).astype(int)], found[np.argmax(areas[found])]
    spread[np.argmin(np.abs(spread - largest))] = largest
    return spread.tolist()


def head_box(
    images: Mapping[str, np.ndarray], shape: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[slice, slice]:
    """Return the in-plane box around the brain, 12 mm wider on each side; the whole plane when nothing shows it.

    Units: mm. Shapes: (H, W, D).
    """
    maps = [images[key] > 0 for key in PERFUSION_MAPS if key in images]
    if not maps and "ct" in images:
        maps = [(images["ct"] > AIR_HU) & (images["ct"] != 0)]
    inside = np.any([m.any(axis=2) for m in maps], axis=0) if maps else np.zeros(shape[:2], bool)
    if not inside.any():
        return slice(0, shape[0]), slice(0, shape[1])
    return _around(inside.any(axis=1), spacing_mm[0]), _around(inside.any(axis=0), spacing_mm[1])


def on_screen(volume: np.ndarray, k: int, box: tuple[slice, slice]) -> np.ndarray:
    """Return slice ``k`` as the radiologist sees it: front up, the patient's right on the left.

    Shapes: (H, W, D) RAS+ in, (rows, columns) out.
    """
    return volume[box[0], box[1], k][::-1, ::-1].T


def _around(line: np.ndarray, spacing: float) -> slice:
    first, last = np.flatnonzero(line)[[0, -1]]
    margin = int(np.ceil(MARGIN_MM / spacing))
    return slice(max(0, int(first) - margin), min(line.size, int(last) + 1 + margin))
