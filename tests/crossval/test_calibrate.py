"""Calibration on maps whose truth is known: temperature, volumes and lesions come back, the mask stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from monai_isles.case import Case
from monai_isles.crossval import fit_calibration
from monai_isles.io.read import Image
from monai_isles.postprocessing import binarise

CASES = [Case(f"case_{n}", f"subject_{n}", {}) for n in range(40)]


def image(data: np.ndarray) -> Image:
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    return Image(data.astype(np.float32), affine, (2.0, 2.0, 5.0), Path("lesion.nii"), "", affine, (24, 24, 2))


def drawn(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a network says, what holds, and the lesion drawn from it: logits doubled and moved up by one."""
    number = int(case.name.split("_")[1])
    random = np.random.default_rng(number)
    held = np.full((24, 24, 2), -3.0)
    side = 4 + number % 12
    held[4 : 4 + side, 4:16] = 2.0
    said = expit(2 * (held + random.normal(0, 0.5, held.shape)) + 1).astype(np.float32)
    true = (logit(said.astype(float)) - 1) / 2
    return said, true, random.random(held.shape) < expit(true)


def read(case: Case) -> tuple[np.ndarray, Image]:
    said, _, lesion = drawn(case)
    return said, image(lesion)


def test_it_takes_back_what_the_network_adds() -> None:
    found = fit_calibration(CASES, read, threshold=0.5, min_size_vox=4, about="40 made-up scans")
    assert found.calibration.temperature == pytest.approx(2.0, abs=0.1)
    assert found.calibration.shift == pytest.approx(-0.5, abs=0.05)
    assert found.after.ece() < 0.01 < found.before.ece()
    assert found.calibration.about == "40 made-up scans"
    assert found.threshold == pytest.approx(1 / (1 + np.exp(0.5)), abs=0.02)  # the logit 0 becomes -0.5


def test_the_mask_is_the_one_that_was_searched() -> None:
    found = fit_calibration(CASES, read, threshold=0.7, min_size_vox=4)
    for case in CASES[:5]:
        said = drawn(case)[0]
        after = binarise(found.calibration.probability(said), found.threshold, 4)
        apart = np.abs(logit(said[after != binarise(said, 0.7, 4)].astype(float)) - logit(0.7))
        assert (apart < 1e-3).all()  # the cut is kept to four digits


def test_its_volumes_and_its_lesions_are_those_of_the_cases() -> None:
    found = fit_calibration(CASES, read, threshold=0.5, min_size_vox=4)
    (small, large) = found.calibration.volume
    assert small["n"] == large["n"] == 20
    held = 0
    for case in CASES:
        said, _, lesion = drawn(case)
        ml = binarise(found.calibration.probability(said), found.threshold, 4).sum() * 0.02
        low, high = found.calibration.interval(float(ml)) or (0, 0)
        held += low <= lesion.sum() * 0.02 <= high
    assert held >= 36
    assert (found.calibration.confidence(0.9, 5.0) or 0) > 0.9  # every found lesion touches a true one here
    assert sum(row["voxels"] for row in found.curve if row["voxels"]) >= 40
