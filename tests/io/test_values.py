"""Values that cannot be right are refused by modality; odd ones are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.case_images import mask_by_ct, noise_findings, read_case_images, unmeasured_findings
from monai_isles.io.findings import collect_remarks, refuse
from monai_isles.io.values import healthy_median, settle_values

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
        ((0, 100), r"E-LBL-01(?s:.*)0 \(23 voxels\), 100 \(1 voxels\)(?s:.*)map 100 to 1"),
        ((0, 1.01), r"E-LBL-01(?s:.*)1\.01 \(1 voxels\)"),
        ((0, 1, 255), r"E-LBL-01(?s:.*)1 \(1 voxels\), 255 \(1 voxels\)"),
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
    assert settle_values(np.full((2, 2), -1e30), kind=None, where="x").findings == []


def head(size: int = 64, slices: int = 3) -> np.ndarray:
    """Air at -1000, a ring of bone at 800, brain at 35, noise of 4 HU, from a fixed seed."""
    x, y = np.mgrid[:size, :size] - (size - 1) / 2
    radius = np.hypot(x, y) / size
    plane = np.where(radius < 0.36, 35.0, np.where(radius < 0.40, 800.0, -1000.0))
    noise = np.random.default_rng(3).normal(0, 4, (size, size, slices))
    return (plane[..., None] + noise).astype(np.float32)


def outside(size: int = 64) -> np.ndarray:
    x, y = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(x, y) / size > 0.48


def codes(settled: object) -> list[str]:
    return [one.code for one in settled.findings]


@pytest.mark.parametrize("padding", [-1025, -2000, -2048, -3024, -8192, -32768])
@pytest.mark.parametrize("frames", [0, 4])
def test_padding_of_a_ct_is_air_and_counted(padding: float, frames: int) -> None:
    data = head() if not frames else np.stack([head()] * frames)
    padded = data.copy()
    padded[..., outside(), :] = padding
    settled = settle_values(padded, kind="ctp" if frames else "ct", where="case_1")
    assert codes(settled) == ["E-VAL-16"] and settled.findings[0].severity == "warning"
    count = int(outside().sum()) * 3 * (frames or 1)
    assert f"{count} of {data.size} voxels below -1024 HU, lowest {padding:g}" in settled.findings[0].found
    assert (settled.data[..., outside(), :] == -1024).all()
    assert np.array_equal(settled.data[..., ~outside(), :], data[..., ~outside(), :])


def test_a_ct_of_padding_alone_is_refused() -> None:
    data = np.full((8, 8, 2), -3024, np.float32)
    data[0, 0, 0] = -2000
    assert codes(settle_values(data, kind="ct", where="x")) == ["E-VAL-16", "E-VAL-14"]


OFFSETS = [(1024, None), (1000, None), (-1024, None), (1024, -2000), (1024, 0), (2048, None), (8192, -2000), (32768, 0)]


@pytest.mark.parametrize(("offset", "padding"), [*OFFSETS, (1024, np.nan), (2048, np.inf)])
def test_an_offset_of_a_ct_is_found_by_air_and_brain_and_taken_off(offset: float, padding: float | None) -> None:
    stored = head() + np.float32(offset)
    if padding is not None:
        stored[outside()] = padding
    settled = settle_values(stored, kind="ct", where="case_1")
    told = next(one for one in settled.findings if one.code == "E-VAL-18")
    assert f" {offset:g} is taken off" in told.found
    assert settled.data.min() >= -1024 and not any(one.severity == "error" for one in settled.findings)
    assert np.abs(settled.data[~outside()] - head()[~outside()]).max() < 4e-3  # single precision near 32 768


@pytest.mark.parametrize("kind", ["ct", "ctp"])
def test_hounsfield_units_cast_to_unsigned_numbers_get_their_sign_back(kind: str) -> None:
    whole = np.rint(head())
    data = np.stack([whole] * 4) if kind == "ctp" else whole
    settled = settle_values(data.astype(np.int16).astype(np.uint16).astype(np.float32), kind=kind, where="case_1")
    count = int((data < 0).sum())
    assert codes(settled) == ["E-VAL-18"] and f"{count} negative numbers" in settled.findings[0].found
    assert np.array_equal(settled.data, data)


def test_unsigned_padding_of_a_ct_is_air() -> None:
    """-2000 in an unsigned number, and an intercept of -1024: 62 512."""
    data = head()
    data[outside()] = 62512
    settled = settle_values(data, kind="ct", where="case_1")
    assert codes(settled) == ["E-VAL-18", "E-VAL-16"] and (settled.data[outside()] == -1024).all()
    assert np.array_equal(settled.data[~outside()], head()[~outside()])


@pytest.mark.parametrize("change", [
    lambda data: (data - data.mean()) / data.std(),
    lambda data: np.where(outside()[..., None], -1024, data + 2048),
    lambda data: data + 5000,
], ids=["spread", "offset-in-padding", "odd-offset"])  # fmt: skip
def test_numbers_that_are_no_hounsfield_units_are_refused(change: Callable[[np.ndarray], np.ndarray]) -> None:
    settled = settle_values(change(head()).astype(np.float32), kind="ct", where="case_1")
    assert "E-VAL-14" in codes(settled), settled.findings


def test_an_absurd_scale_is_named_by_the_range_check() -> None:
    found = codes(settle_values(head() * 1e30, kind="ct", where="x"))
    assert [one for one in found if one != "E-VAL-16"] == ["E-VAL-05"]


def test_true_hounsfield_units_are_left_alone() -> None:
    for data in (head(), np.clip(head(), 0, None), np.where(head() > 700, 1050, head()).astype(np.float32)):
        settled = settle_values(data, kind="ct", where="x")
        assert settled.findings == [] and settled.data is data
    stripped = np.where((head() > 0) & (head() < 100), head(), 0).clip(0, 255)
    assert settle_values(stripped, kind="ct", where="x").findings == []


@pytest.mark.parametrize(("low", "high"), [(0, 80), (-100, 300), (-1024, 3071)])
@pytest.mark.parametrize("top", [255, 1])
def test_a_picture_of_a_ct_is_refused_by_name(low: float, high: float, top: float) -> None:
    data = np.clip((head() - low) / (high - low), 0, 1) * top
    if high == 3071:
        data = (data - data.min()) / (data.max() - data.min()) * top
        data[outside()], data[head() > 790] = 0, top
    settled = settle_values(data.astype(np.float32), kind="ct", where="case_1")
    assert codes(settled) == ["E-VAL-14"] and settled.findings[0].severity == "error"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kind", "rest"), [("ct", -1024), ("dwi", 0)])
def test_what_is_no_number_outside_the_head_is_background(bad: float, kind: str, rest: float) -> None:
    data = head() if kind == "ct" else np.where(outside()[..., None], 0, np.abs(head()))
    data[outside()] = bad
    settled = settle_values(data, kind=kind, where="case_1")
    count = int(outside().sum()) * 3
    assert codes(settled) == ["E-VAL-13"] and f"{count} " in settled.findings[0].found
    assert f"of {data.size} voxels: read as {rest:g}" in settled.findings[0].found
    assert (settled.data[outside()] == rest).all() and np.isfinite(settled.data).all()


@pytest.mark.parametrize("hole", ["voxel", "slice", "half"])
def test_what_is_no_number_in_the_head_is_refused(hole: str) -> None:
    data = head()
    data[{"voxel": (32, 32, 1), "slice": (..., 1), "half": (slice(32), slice(None), 1)}[hole]] = np.nan
    settled = settle_values(data, kind="ct", where="case_1")
    assert codes(settled) == ["E-VAL-03"] and "in tissue" in settled.findings[0].found


def maps_with(change: Callable[[dict[str, np.ndarray]], None], write: Write) -> dict[str, object]:
    brain = (head()[..., :2] > 0) & (head()[..., :2] < 100)
    brain[30:34, 30:34] = False  # a ventricle: no map measures there
    data = {key: np.where(brain, level, 0).astype(np.float32) for key, level in (("cbf", 50), ("cbv", 4), ("mtt", 5))}
    change(data)
    return {key: read_image(write(values, f"{key}.nii"), kind=key, where="case_1") for key, values in data.items()}


def test_no_number_in_a_map_means_not_measured_where_no_map_measured(write: Write) -> None:
    def everywhere(data: dict[str, np.ndarray]) -> None:
        for values in data.values():
            values[values == 0] = np.nan

    def at_the_edge(data: dict[str, np.ndarray]) -> None:
        first = int(np.flatnonzero(data["cbf"][:, 32, 0])[0])
        data["cbf"][first, 32, 0] = np.inf

    with collect_remarks() as remarks:
        images = maps_with(everywhere, write)
    assert unmeasured_findings(images, case="case_1") == []
    assert [one.code for one in remarks] == ["E-VAL-13"] * 3
    assert all(image.data[31, 31, 0] == 0 and np.isfinite(image.data).all() for image in images.values())
    assert unmeasured_findings(maps_with(at_the_edge, write), case="case_1") == []


def test_no_number_in_a_map_is_refused_where_the_others_measured(write: Write) -> None:
    def inside(data: dict[str, np.ndarray]) -> None:
        data["mtt"][20:22, 32, 0] = np.nan

    images = maps_with(inside, write)
    with pytest.raises(IslesError, match=r"E-VAL-03(?s:.*)case_1(?s:.*)mtt.nii(?s:.*)2 NaN(?s:.*)2 of them"):
        refuse(unmeasured_findings(images, case="case_1"))
    assert [one.code for one in unmeasured_findings({"mtt": images["mtt"]}, case="case_1")] == ["E-VAL-03"]


def test_maps_on_other_grids_do_not_say_where_a_map_must_have_numbers(write: Write) -> None:
    def at_the_edge(data: dict[str, np.ndarray]) -> None:
        data["mtt"][30:34, 30:34] = 5  # no hole
        data["mtt"][data["mtt"] == 0] = np.nan
        data["cbf"][:], data["cbv"][:] = 50, 4  # all of their smaller field of view is brain

    images = maps_with(at_the_edge, write)
    assert [one.code for one in unmeasured_findings(images, case="case_1")] == ["E-VAL-03"]
    smaller = np.diag([0.5, 0.5, 1.0, 1.0])
    images |= {key: replace(images[key], affine=smaller @ images[key].affine) for key in ("cbf", "cbv")}
    assert unmeasured_findings(images, case="case_1") == []


@pytest.mark.parametrize(
    ("smoothing_mm", "spacing_mm", "told"),
    [(0.0, 1.0, True), (1.5, 1.0, True), (1.5, 0.5, True), (0.0, 4.0, True), (6.0, 1.0, False), (6.0, 2.0, False)],
)
def test_a_flow_map_of_noise_is_told(smoothing_mm: float, spacing_mm: float, told: bool) -> None:
    """White noise smoothed by a Gaussian of full width w correlates by exp(-2 ln 2 (4 / w)^2) at 4 mm: .54 at 6 mm."""
    noise = np.random.default_rng(0).normal(size=(96, 96, 2))
    sigma = smoothing_mm / spacing_mm / 2.3548
    flow = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    flow = np.maximum(40 + 15 * flow / flow.std(), 1).astype(np.float32)
    flow[:10] = 0
    image = SimpleNamespace(data=flow, spacing_mm=(spacing_mm, spacing_mm, 5.0))
    found = noise_findings({"cbf": image}, case="case_1")
    assert [one.code for one in found] == (["E-VAL-19"] if told else [])


def test_too_few_voxels_and_other_images_are_not_judged_for_noise() -> None:
    flow = np.random.default_rng(0).uniform(1, 80, (20, 20, 2))
    assert noise_findings({"cbf": SimpleNamespace(data=flow, spacing_mm=(1.0, 1.0, 5.0))}, case="a") == []
    assert (
        noise_findings({"tmax": SimpleNamespace(data=np.tile(flow, (9, 9, 1)), spacing_mm=(1, 1, 5))}, case="a") == []
    )


@pytest.mark.parametrize(
    ("half_mm", "air", "beside", "told"),
    [
        ((90, 74, 66), 0.0, "flair", False),  # a large adult brain: 209 cm2, 1 840 ml
        ((103, 80, 40), 0.0, "flair", True),  # a slab of a head
        ((95, 74, 90), 0.0, "flair", True),  # a narrow head down to the neck
        ((85, 68, 60), 1.0, "flair", True),  # noise in air
        ((103, 80, 90), 0.0, "ct", False),
    ],
)
def test_mri_with_its_skull_is_told(
    write: Write, half_mm: tuple[int, int, int], air: float, beside: str, told: bool
) -> None:
    axes = np.meshgrid(*(np.arange(n) * 3.0 - 1.5 * (n - 1) for n in (80, 80, 62)), indexing="ij")
    head = sum((axis / half) ** 2 for axis, half in zip(axes, half_mm, strict=True)) < 1
    image = np.where(head, 300.0, air * np.random.default_rng(0).rayleigh(5, head.shape)).astype(np.float32)
    files = {key: write(image, name=f"{key}.nii", affine=np.diag([3.0, 3.0, 3.0, 1.0])) for key in (beside, "dwi")}
    with collect_remarks(log=False) as remarks:
        read_case_images(files, case="case_1")
    assert [one.found.split(":")[0] for one in remarks if one.code == "E-VAL-22"] == ([beside] if told else [])


@pytest.mark.parametrize(("constant", "kind"), [
    (-1.0, "cbf"), (-1000.0, "cbf"), (-0.5, "cbf"), (65535.0, "cbf"), (9999.0, "tmax"), (255.0, "mtt"),
])  # fmt: skip
def test_a_constant_that_no_map_can_hold_is_not_measured(constant: float, kind: str) -> None:
    brain = (head() > 0) & (head() < 100)
    flow = np.where(brain, 50 if kind == "cbf" else 5, constant).astype(np.float32)
    settled = settle_values(flow, kind=kind, where="case_1")
    assert codes(settled) == ["E-VAL-17"]
    assert np.array_equal(settled.data, np.where(brain, flow, 0))


@pytest.mark.parametrize(("below", "code"), [(-1.0, "E-VAL-17"), ("noise", "E-VAL-06")])
def test_a_negative_constant_inside_a_frame_of_zeros_is_not_measured(below: float | str, code: str) -> None:
    """As in a map with a background of -1 that was moved to the grid of a larger CT."""
    brain = (head() > 0) & (head() < 100)
    noise = -np.random.default_rng(0).random(brain.shape)
    flow = np.where(brain, 50, noise if below == "noise" else below).astype(np.float32)
    flow[:3], flow[-3:], flow[:, :3], flow[:, -3:] = 0, 0, 0, 0
    settled = settle_values(flow, kind="cbf", where="case_1")
    assert codes(settled) == [code]
    assert code == "E-VAL-06" or np.array_equal(settled.data, np.where(brain, flow, 0))


@pytest.mark.parametrize(
    ("values", "remarked"),
    [((0, 255), True), ((0, 0.9999), True), ((1e-4, 1.0001), True), ((0.2, 254.9), True), ((0, 1), False)],
)
def test_masks_of_255_and_of_rounding_are_binary(write: Write, values: tuple[float, float], remarked: bool) -> None:
    mask = np.full(24, values[0], np.float32)
    mask[5:8] = values[1]
    with collect_remarks() as remarks:
        image = read_image(write(mask.reshape(4, 3, 2)), kind="label", where="case_1")
    assert sorted(np.unique(image.data)) == [0, 1] and image.data.sum() == 3
    assert [one.code for one in remarks] == (["E-LBL-04"] if remarked else [])


@pytest.mark.parametrize("top", [1, 0.9999, 255])
def test_nan_is_the_background_of_a_mask_without_zeros(write: Write, top: float) -> None:
    mask = np.full(24, np.nan, np.float32)
    mask[5:8] = top
    with collect_remarks() as remarks:
        image = read_image(write(mask.reshape(4, 3, 2)), kind="label", where="case_1")
    assert sorted(np.unique(image.data)) == [0, 1] and image.data.sum() == 3
    assert remarks[0].code == "E-VAL-13" and "21 NaN" in remarks[0].found


@pytest.mark.parametrize("rest", [(0.0,), (np.inf,), (0.5,), ()], ids=["zeros", "infinite", "half", "nothing"])
def test_nan_in_any_other_mask_is_refused(write: Write, rest: tuple[float, ...]) -> None:
    """Beside zeros a voxel without a number may be one that nobody judged."""
    mask = np.full(24, np.nan, np.float32)
    mask[: 3 * len(rest)] = [1.0, *rest, *rest][: 3 * len(rest)]
    refused(write(mask.reshape(4, 3, 2)), "label", r"E-VAL-03|E-LBL-01")


def test_a_mask_scaled_by_one_over_255_in_single_precision_is_binary(write: Write) -> None:
    mask = np.zeros((4, 3, 2), np.uint8)
    mask[1, 1] = 255
    image = read_image(write(mask, patch={"scl_slope": 0.003922, "scl_inter": 0.0}), kind="label")
    assert image.data.sum() == 2 and image.data.max() == 1
    image = read_image(
        write(mask // 255 * 2, patch={"scl_slope": 1.0003, "scl_inter": 0.0}), kind="label", label_values=[2]
    )
    assert image.data.sum() == 2 and image.data.max() == 1


@pytest.mark.parametrize(
    ("factor", "words"), [(10, "tenths of a second: divide by 10"), (1000, "milliseconds: divide by 1000")]
)
@pytest.mark.parametrize(("kind", "healthy", "lesion"), [("mtt", 5, 12), ("tmax", 1.5, 9), ("ttp", 18, 26)])
def test_times_in_another_unit_are_told_by_the_healthy_side(
    kind: str, healthy: float, lesion: float, factor: float, words: str
) -> None:
    brain = (head() > 0) & (head() < 100)
    times = np.where(brain, np.float32(healthy), 0)
    times[32:][brain[32:]] = lesion
    assert healthy_median(times) == healthy
    assert settle_values(times, kind=kind, where="x").findings == []
    (told,) = settle_values(times * np.float32(factor), kind=kind, where="case_1").findings
    assert words in told.fix and (told.code, told.severity) in (("E-VAL-15", "warning"), ("E-VAL-05", "error"))
    assert told.severity == ("error" if factor == 1000 or kind == "ttp" else "warning")


@pytest.mark.parametrize("factor", [100, 1000])
@pytest.mark.parametrize(("kind", "healthy", "lesion"), [("mtt", 5, 12), ("tmax", 1.5, 9), ("ttp", 18, 26)])
def test_times_divided_too_often_are_told(kind: str, healthy: float, lesion: float, factor: int) -> None:
    """A Tmax of 0.09 s in the lesion is no hypoperfusion at all: seen where an unneeded factor was taken off."""
    brain = (head() > 0) & (head() < 100)
    times = np.where(brain, np.float32(healthy), 0)
    times[32:][brain[32:]] = lesion
    (told,) = settle_values(times / np.float32(factor), kind=kind, where="case_1").findings
    assert (told.code, told.severity) == ("E-VAL-15", "warning") and f"divided by {factor} too often" in told.fix
    assert f"99th percentile {lesion / factor:.3g} s" in told.found


@pytest.mark.parametrize("gap_mm", [0, 5, 60], ids=["closed", "suture", "craniectomy"])
@pytest.mark.parametrize("reach_mm", [47, 200], ids=["smoothed", "unmasked"])
def test_maps_without_a_mask_are_0_outside_the_skull(reach_mm: int, gap_mm: int, write: Write) -> None:
    """A skull of 40 to 46 mm around brain of 35 HU, scalp of 20 HU, air; flow beyond the skull, or everywhere."""
    x, y = np.meshgrid(np.arange(128) - 64.0, np.arange(128) - 64.0, indexing="ij")
    r = np.hypot(x, y)[..., None]
    ct = np.select(
        [r < 40, (r < 46) & ~((np.abs(y) < gap_mm / 2) & (x > 0))[..., None], r < 52], [35.0, 900.0, 20.0], -1000
    )
    noise = np.random.default_rng(1).uniform(0.1, 9, ct.shape) * (r < reach_mm)
    arrays, upright = {"ct": ct, "cbf": noise, "cbv": noise / 9, "tmax": noise}, np.diag([1.0, 1.0, 5.0, 1.0])
    files = {key: write(data.astype(np.float32), f"{key}.nii", affine=upright) for key, data in arrays.items()}
    images = {key: read_image(path, kind=key) for key, path in files.items()}
    masked, remarks = mask_by_ct(images, case="case_1")
    left = masked["cbf"].data > 0
    assert [one.code for one in remarks] == ["E-VAL-20"] and masked["ct"] is images["ct"]
    assert left[r < 38].all() and not left[r > 52].any() and not left[masked["ct"].data > 300].any()
    assert all(np.array_equal(masked[key].data > 0, left) for key in ("cbv", "tmax"))
    assert mask_by_ct(masked, case="case_1")[1] == []  # maps with a mask stay as they are
    assert mask_by_ct({"cbf": images["cbf"]}, case="case_1") == ({"cbf": images["cbf"]}, [])
    wider = replace(images["ct"], affine=np.diag([1.25, 1.25, 5.0, 1.0]))  # as many voxels at other places
    assert mask_by_ct(images | {"ct": wider}, case="case_1") == (images | {"ct": wider}, [])


@pytest.mark.parametrize("far_slice", [-1000, 35], ids=["ct-ends-early", "ct-whole"])
def test_a_colour_bar_burnt_into_the_maps_beside_the_head_is_read_as_0(far_slice: int, write: Write) -> None:
    """A bar of flow and of Tmax in the air; brain that the CT does not reach, or reaches badly, is no bar."""
    x, y = np.meshgrid(np.arange(64) - 32.0, np.arange(64) - 32.0, indexing="ij")
    r = np.hypot(x, y)[..., None] * np.ones(4)
    ct = np.select([r < 20, r < 24, r < 27], [35.0, 900.0, 20.0], -1000)
    ct[..., 3] = far_slice
    flow = np.where(np.hypot(x + 9, y)[..., None] * np.ones(4) < 20, 40.0, 0)  # lies 9 mm beside the brain of the CT
    arrays, upright = {"ct": ct, "cbf": flow, "tmax": flow / 20}, np.diag([1.0, 1.0, 5.0, 1.0])

    def masked(arrays: dict[str, np.ndarray]) -> tuple[dict, list]:
        files = {key: write(data.astype(np.float32), f"{key}.nii", affine=upright) for key, data in arrays.items()}
        return mask_by_ct({key: read_image(path, kind=key) for key, path in files.items()}, case="case_1")

    assert masked(arrays)[1] == []
    moved = {key: data if key == "ct" else np.roll(data, (41, 32), (0, 1)) for key, data in arrays.items()}
    assert masked(moved)[1] == []  # most of the maps in air is no bar: the CT is not registered
    with_bar = {key: data.copy() for key, data in arrays.items()}
    with_bar["tmax"][58:62, 10:50] = np.linspace(1, 12, 40)[:, None]
    images, (remark,) = masked(with_bar)
    assert (remark.code, np.count_nonzero(images["tmax"].data[55:])) == ("E-VAL-20", 0)
    assert np.array_equal(images["tmax"].data > 0, images["cbf"].data > 0) and images["cbf"].data.sum() == flow.sum()


@pytest.mark.parametrize(("lowest", "codes"), [(-6000, []), (-32768, ["E-VAL-05"])], ids=["noise", "padding"])
def test_noise_in_the_air_of_an_adc_map_is_no_fault(lowest: int, codes: list[str]) -> None:
    """A decay that noise turns round by e to the 6 at b 1000 gives -6000 in 1e-6 mm2/s; padding is no noise."""
    adc = np.full((12, 12, 4), 800, np.float32)
    adc[0, 0] = lowest
    assert [item.code for item in settle_values(adc, kind="adc", where="case_1").findings] == codes


def test_noise_of_both_signs_is_no_fault_outside_the_skull(write: Write) -> None:
    """As maps without a mask: half of air and bone below 0. Without CT, or with it in the brain, they are refused."""
    x, y = np.meshgrid(np.arange(128) - 64.0, np.arange(128) - 64.0, indexing="ij")
    r, rng = np.hypot(x, y)[..., None], np.random.default_rng(1)
    ct = np.select([r < 40, r < 46, r < 52], [35.0, 900.0, 20.0], -1000)

    def files(in_brain: float) -> dict[str, Path]:
        maps = {key: np.where(r < 40, in_brain, 0) + rng.normal(0, 1, r.shape) for key in ("cbf", "cbv")}
        upright = np.diag([1.0, 1.0, 5.0, 1.0])
        return {
            key: write(data.astype(np.float32), f"{key}.nii", affine=upright)
            for key, data in (maps | {"ct": ct}).items()
        }

    with collect_remarks() as remarks:
        read = read_case_images(whole := files(6.0), case="case_1")
    assert [one.code for one in remarks] == ["E-VAL-20", "E-VAL-19"] and (read["cbv"].data[r < 39] > 0).all()
    assert not read["cbf"].data[r > 52].any()
    with pytest.raises(IslesError, match="E-VAL-06"):
        read_case_images({key: whole[key] for key in ("cbf", "cbv")}, case="case_1")
    with pytest.raises(IslesError, match="E-VAL-06(?s:.*)cbf.nii"):  # a map of z-scores
        read_case_images(files(0.0), case="case_1")


def test_flow_without_a_unit_is_remarked_without_a_ct_and_refused_beside_one(write: Write) -> None:
    """MR maps hold 12-bit numbers of no unit; CT maps a hundred times too large would mislead who reads numbers."""
    arrays = {
        key: np.random.default_rng(n).uniform(1, 4095, (12, 12, 4)) for n, key in enumerate(("cbf", "cbv", "dwi"))
    }
    arrays["ct"] = np.where(arrays["dwi"] > 2000, 35.0, -1000.0)
    files = {key: write(data.astype(np.float32), f"{key}.nii") for key, data in arrays.items()}
    ct = files.pop("ct")
    with collect_remarks() as remarks:
        images = read_case_images(files, case="case_1")
    assert [one.code for one in remarks] == ["E-VAL-05"] * 2 and images["cbv"].data.max() > 4000
    with pytest.raises(IslesError, match="E-VAL-05"):
        read_case_images(files | {"ct": ct}, case="case_1")
    files["cbf"] = write(np.full((12, 12, 4), 8e31, np.float32) * np.eye(12, dtype=np.float32)[..., None], "far.nii")
    with pytest.raises(IslesError, match="E-VAL-05"):
        read_case_images(files, case="case_1")


@pytest.mark.parametrize("share", [0.002, 0.1], ids=["few", "ventricles"])
def test_times_without_flow_have_no_bound_and_are_clipped(share: float) -> None:
    """MTT is CBV divided by CBF: the unit is told by the rest of the brain."""
    brain = (head() > 0) & (head() < 100)
    times, rng = np.where(brain, 5.0, 0).astype(np.float32), np.random.default_rng(0)
    lost = brain & (rng.random(brain.shape) < share)
    times[lost] = rng.uniform(1100, 40000, int(lost.sum()))
    settled = settle_values(times, kind="mtt", where="case_1")
    assert [(one.code, one.severity) for one in settled.findings] == [("E-VAL-05", "warning")]
    assert f"{lost.sum()} of {brain.sum()}" in settled.findings[0].found
    assert (settled.data[lost] == 1000).all() and np.array_equal(settled.data[~lost], times[~lost])


@pytest.mark.parametrize(("kind", "usual"), [("cbf", 50), ("tmax", 2)])
def test_a_voxel_beyond_all_bounds_of_another_map_is_damage(kind: str, usual: float) -> None:
    brain = (head() > 0) & (head() < 100)
    data = np.where(brain, usual, 0).astype(np.float32)
    data[32, 32, 0] = 1e7
    (found,) = settle_values(data, kind=kind, where="case_1").findings
    assert (found.code, found.severity) == ("E-VAL-05", "error")
