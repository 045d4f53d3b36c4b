"""Pairs of masks, random and degenerate, with anisotropic spacing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

Pair = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]


def _blob(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    centre = [random.uniform(0, n - 1) for n in shape]
    radius = random.uniform(1.0, max(2.0, min(shape[:2]) / 2.5))
    distance = sum(
        ((g - c) / (1 if axis < 2 else 0.5)) ** 2
        for axis, (g, c) in enumerate(zip(np.indices(shape), centre, strict=True))
    )
    return distance <= radius**2


def _pairs(count: int) -> Iterator[Pair]:
    random = np.random.default_rng(20)
    for index in range(count):
        shape = (int(random.integers(5, 22)), int(random.integers(5, 22)), int(random.choice([1, 2, 2, 4, 8])))
        spacing = (float(random.uniform(0.7, 1.1)), float(random.uniform(0.7, 1.1)), float(random.uniform(3, 12)))
        if index % 25 == 1:
            pred, ref = np.zeros(shape, bool), _blob(random, shape)
        elif index % 3 == 0:
            pred, ref = random.random(shape) < 0.1, random.random(shape) < 0.3
        else:
            pred, ref = _blob(random, shape), _blob(random, shape)
        pred[tuple(random.integers(0, n) for n in shape)] = True
        ref[tuple(random.integers(0, n) for n in shape)] = True
        yield pred, ref, spacing
    shape, spacing = (9, 7, 2), (0.8, 0.9, 6.0)
    one, far, full = (np.zeros(shape, bool) for _ in range(3))
    one[0, 0, 0], far[-1, -1, -1], full[...] = True, True, True
    line = np.zeros(shape, bool)
    line[4, :, 1] = True
    for pair in (
        (one, far),
        (one, one),
        (full, full),
        (full, one),
        (line, full),
        (one, line),
        (~one, one),
        (line, ~line),
    ):
        yield pair[0], pair[1], spacing


@pytest.fixture(scope="session")
def mask_pairs() -> list[Pair]:
    """Return 500 pairs, no mask empty: blobs at the border, scattered and single voxels, lines, full volumes."""
    return list(_pairs(492))
