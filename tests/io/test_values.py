"""Values that cannot be right are refused by modality; odd ones are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.values import value_findings

Write = Callable[..., Path]


def refused(path: Path, kind: str | None, words: str) -> None:
    with pytest.raises(IslesError, match=words):
        read_image(path, kind=kind, where="case_7")


@pytest.mark.parametrize(
    ("bad", "words"), [(np.nan, "1 NaN and 0 infinite of 24"), (np.inf, "0 NaN and 1 infinite of 24")]
)
@pytest.mark.parametrize("kind", ["ct", "label", None])
def test_one_voxel_that_is_no_number_is_counted(
    write: Write, volume: np.ndarray, bad: float, words: str, kind: str | None
) -> None:
    volume[1, 1, 1] = bad
    refused(write(volume), kind, rf"E-VAL-03(?s:.*)case_7(?s:.*){words}")


def test_an_empty_modality_is_refused_and_named(write: Write) -> None:
    refused(write(np.zeros((4, 3, 2), np.float32)), "cbf", r"E-VAL-04(?s:.*)cerebral blood flow is 0")


def test_a_constant_modality_passes_with_a_warning(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = write(np.full((4, 3, 2), 7, np.float32))
    with caplog.at_level(logging.WARNING):
        read_image(path, kind="ct", where="case_7")
        read_image(path, kind="ct", where="case_7")
    assert [
        r.message for r in caplog.records if "E-VAL-09" in r.message and "case_7" in r.message and "is 7" in r.message
    ].__len__() == 1


def test_a_runaway_scale_factor_is_refused(write: Write, volume: np.ndarray) -> None:
    refused(write(volume.astype(np.int16), patch={"scl_slope": 1e30}), "ct", r"E-VAL-05(?s:.*)scl_slope")


@pytest.mark.parametrize(
    ("slope", "inter", "first"),
    [(0.0, 5.0, 1.0), (np.nan, 5.0, 1.0), (2.0, 5.0, 7.0), (1.0, 0.0, 1.0), (np.nan, np.inf, 1.0)],
)
def test_scale_factors_are_applied_and_void_ones_are_not(
    write: Write, volume: np.ndarray, slope: float, inter: float, first: float
) -> None:
    image = read_image(write(volume.astype(np.int16), affine=np.eye(4), patch={"scl_slope": slope, "scl_inter": inter}))
    assert image.data[0, 0, 0] == first


def test_milliseconds_are_recognised(write: Write, volume: np.ndarray) -> None:
    read_image(write(volume), kind="tmax")
    refused(write(volume * 1000), "tmax", r"E-VAL-05(?s:.*)likely milliseconds: divide by 1000")


def test_a_map_a_hundred_times_too_large_is_told_the_factor(write: Write, volume: np.ndarray) -> None:
    read_image(write(volume * 20), kind="cbf")  # some real maps are stored times ten
    refused(write(volume * 10000), "cbf", r"E-VAL-05(?s:.*)likely a scale factor of 100")


def test_a_low_ct_is_refused(write: Write, volume: np.ndarray) -> None:
    volume[0, 0, 0] = -5000
    refused(write(volume), "ct", r"E-VAL-05(?s:.*)at least -2048")


def test_few_negative_voxels_of_a_map_become_zero_and_are_counted(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    flow = np.full((10, 5, 2), 50, np.float32)
    flow[0, 0, 0] = -3
    with caplog.at_level(logging.WARNING):
        image = read_image(write(flow), kind="cbf", where="case_8")
    assert image.data.min() == 0 and int((image.data == 0).sum()) == 1
    assert "E-VAL-10" in caplog.text and "1 of 100 non-zero voxels below 0" in caplog.text


def test_many_negative_voxels_are_refused(write: Write) -> None:
    flow = np.full((10, 5, 2), 50, np.float32)
    flow[0, :3] = -3
    refused(write(flow), "cbf", r"E-VAL-06(?s:.*)6 of 100(?s:.*)at most 5%")
    assert read_image(write(flow), kind="ct").data.min() == -3  # CT may be negative


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 255), r"E-LBL-01(?s:.*)0 \(23 voxels\), 255 \(1 voxels\)(?s:.*)map 255 to 1"),
        ((0, 0.5), r"E-LBL-01(?s:.*)0\.5 \(1 voxels\)"),
        ((0, 1, 2), r"E-LBL-01(?s:.*)2 \(1 voxels\)(?s:.*)decide which values"),
        (tuple(range(12)), r"E-LBL-01(?s:.*)4 further values"),
    ],
)
def test_masks_hold_zero_and_one_only(write: Write, values: tuple[float, ...], words: str) -> None:
    mask = np.zeros(24, np.float32)
    mask[: len(values)] = values
    refused(write(mask.reshape(4, 3, 2)), "label", words)


@pytest.mark.parametrize("mask", [np.zeros((4, 3, 2)), np.ones((4, 3, 2)), np.arange(24).reshape(4, 3, 2) % 2])
def test_binary_masks_pass_even_when_empty(write: Write, mask: np.ndarray) -> None:
    read_image(write(mask.astype(np.uint8)), kind="label")


@pytest.mark.parametrize(("chosen", "lesion"), [((1,), 1), ((2,), 2), ((1, 2), 3), ((255,), 0)])
def test_of_several_labels_the_chosen_ones_are_read_as_one(write: Write, chosen: tuple[int, ...], lesion: int) -> None:
    mask = np.zeros(24, np.uint8)
    mask[:3] = (1, 2, 2)
    path = write(mask.reshape(4, 3, 2))
    data = read_image(path, kind="label", label_values=chosen).data
    assert data.sum() == lesion and set(np.unique(data)) <= {0, 1} and data.dtype == np.float32
    assert read_image(path, kind="dwi", label_values=chosen).data.max() == 2


def test_values_beyond_the_labels_are_refused(write: Write) -> None:
    mask = np.zeros(24, np.uint8)
    mask[0] = 3
    with pytest.raises(IslesError, match=r"E-LBL-01: lesion mask holds other values than 0, 1 and 2(?s:.*)3 \(1 vox"):
        read_image(write(mask.reshape(4, 3, 2)), kind="label", label_values=[1])
    mask[0] = 255
    assert read_image(write(mask.reshape(4, 3, 2)), kind="label", label_values=[255]).data.sum() == 1


def test_diffusion_coefficients_of_both_usual_units_and_mri_pass(write: Write, volume: np.ndarray) -> None:
    read_image(write(volume / 6 - 0.3), kind="adc")  # 1e-3 mm2/s, a little noise below 0
    read_image(write(volume * 150), kind="adc")  # 1e-6 mm2/s
    for kind, factor in (("cbf", 5), ("cbv", 0.5), ("ttp", 5), ("t1", 1000), ("flair", 1), ("t1c", 1), ("t2", 1)):
        read_image(write(volume * factor), kind=kind)
    refused(write(volume * 1000), "ttp", r"E-VAL-05(?s:.*)likely milliseconds")
    refused(write(volume * 200), "cbf", r"E-VAL-05(?s:.*)scale factor of 10 or more")
    refused(write(volume * 80), "cbv", r"E-VAL-05(?s:.*)scale factor of 10 or more")


def test_probabilities_lie_between_zero_and_one(write: Write, volume: np.ndarray) -> None:
    read_image(write(volume / 24), kind="probability")
    refused(write(volume), "probability", r"E-VAL-08(?s:.*)from 1 to 24")


def test_an_unknown_kind_is_judged_for_finiteness_only() -> None:
    assert value_findings(np.full((2, 2), -1e30), kind=None, where="x") == []
