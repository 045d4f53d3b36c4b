"""Headers that would give a wrong position, size or number are refused; honest ones pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.findings import collect_remarks

Write = Callable[..., Path]
STRAIGHT = np.diag([1.0, 1.0, 5.0, 1.0])


def refused(path: Path, words: str, kind: str | None = None) -> None:
    with pytest.raises(IslesError, match=words):
        read_image(path, kind=kind, where="case_7")


def test_a_zero_dimension_is_refused(write: Write, volume: np.ndarray) -> None:
    refused(write(volume, patch={"dim": [3, 4, 0, 2, 1, 1, 1, 1]}), r"E-DIM-01(?s:.*)a\.nii(?s:.*)\(4, 0, 2\)")


def test_a_header_without_dimensions_is_refused(write: Write, volume: np.ndarray) -> None:
    refused(write(volume, patch={"dim": [0, 4, 3, 2, 1, 1, 1, 1]}), r"E-DIM-01")


def test_a_negative_dimension_is_refused(write: Write, volume: np.ndarray) -> None:
    refused(
        write(volume, patch={"dim": [3, 4, -3, 2, 1, 1, 1, 1]}), r"E-DIM-02: header holds a negative dimension(?s:.*)-3"
    )


def test_frames_and_vectors_at_once_are_not_understood(write: Write) -> None:
    refused(write(np.ones((2, 2, 2, 3, 2), np.float32)), r"E-DIM-05(?s:.*)\(2, 2, 2, 3, 2\)")


def test_a_series_where_a_volume_is_wanted_names_the_frames(write: Write) -> None:
    refused(write(np.ones((4, 3, 2, 6), np.float32)), r"E-DIM-03(?s:.*)6 frames(?s:.*)pick a frame", kind="ct")


def test_a_map_where_a_series_is_wanted_says_so(write: Write, volume: np.ndarray) -> None:
    refused(write(volume), r"E-DIM-04(?s:.*)looks like a map", kind="ctp")
    refused(write(volume[..., None]), r"E-DIM-04", kind="ctp")


@pytest.mark.parametrize(("dt", "unit", "seconds"), [(1.5, 8, 1.5), (1500.0, 16, 1.5), (0.0, 8, None), (2.0, 0, None)])
def test_frame_times_are_read_in_seconds(write: Write, dt: float, unit: int, seconds: float | None) -> None:
    path = write(np.ones((4, 3, 2, 6), np.float32), patch={"pixdim": [1, 1, 2, 5, dt, 1, 1, 1], "xyzt_units": 2 + unit})
    assert read_image(path, dtype=np.float64).dt_s == (None if seconds is None else pytest.approx(seconds))


def test_the_frame_time_of_five_dimensions_is_found_on_either_axis(write: Write) -> None:
    series = np.arange(1.0, 145.0, dtype=np.float32).reshape(4, 3, 2, 1, 6)
    assert read_image(write(series, patch={"pixdim": [1, 1, 2, 5, 1, 2.5, 1, 1]}), kind="ctp").dt_s == 2.5
    assert read_image(write(series, patch={"pixdim": [1, 1, 2, 5, 2.5, 1, 1, 1]}), kind="ctp").dt_s == 2.5


def test_a_frame_time_of_minutes_is_refused(write: Write) -> None:
    path = write(np.ones((4, 3, 2, 6), np.float32), patch={"pixdim": [1, 1, 2, 5, 1000, 1, 1, 1]})
    refused(path, r"E-DIM-06(?s:.*)1000 s between frames", kind="ctp")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (32, "E-VAL-01(?s:.*)complex"),
        (1792, "E-VAL-01"),
        (128, "E-VAL-02(?s:.*)RGB"),
        (1536, "E-VAL-11(?s:.*)datatype 1536"),
    ],
)
def test_numbers_that_are_no_real_numbers_are_refused(write: Write, volume: np.ndarray, code: int, words: str) -> None:
    refused(write(volume, patch={"datatype": code}), words)


def test_no_orientation_is_refused_and_told_how_to_state_it(write: Write, volume: np.ndarray) -> None:
    refused(write(volume, codes=(0, 0)), r"E-GEOM-01(?s:.*)sform code 0 and qform code 0(?s:.*)set_sform")


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1)])
def test_one_orientation_is_enough(write: Write, volume: np.ndarray, codes: tuple[int, int]) -> None:
    assert np.allclose(
        read_image(write(volume, codes=codes)).native_affine,
        np.diag([-1, -2, 5, 1]) + [[0, 0, 0, 10], [0, 0, 0, 20], [0, 0, 0, 30], [0] * 4],
    )


def test_sform_and_qform_that_are_mirrors_are_refused(write: Write, volume: np.ndarray) -> None:
    refused(
        write(volume, patch={"srow_x": [1, 0, 0, 10]}),
        r"E-GEOM-02: sform and qform disagree(?s:.*)mm(?s:.*)the sform would be used",
    )


def test_a_qform_that_is_not_a_number_leaves_the_place_to_the_sform(
    write: Write, volume: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = read_image(write(volume)).affine
    found = read_image(write(volume, patch={"qoffset_x": np.nan})).affine
    np.testing.assert_array_equal(found, wanted)
    assert "E-GEOM-10: qform is not finite and states no place" in caplog.text
    refused(write(volume, patch={"qoffset_x": np.nan, "sform_code": 0}), "E-GEOM-06")


def test_a_negative_voxel_size_of_the_qform_is_no_flip(write: Write, volume: np.ndarray) -> None:
    """nibabel reads it as positive, ITK turns the axis: left may be right."""
    sizes = {"pixdim": [1, -1, 2, 5, 0, 0, 0, 0]}
    np.testing.assert_array_equal(read_image(write(volume, patch=sizes)).affine, read_image(write(volume)).affine)
    refused(write(volume, patch=sizes, codes=(0, 1)), "E-GEOM-06")


@pytest.mark.parametrize(("shift", "said"), [(1e-5, ""), (5e-4, ""), (0.01, "E-GEOM-10"), (0.4, "E-GEOM-10")])
def test_sform_and_qform_a_rounding_apart_are_one(
    write: Write, volume: np.ndarray, caplog: pytest.LogCaptureFixture, shift: float, said: str
) -> None:
    image = read_image(write(volume, affine=STRAIGHT, patch={"qoffset_x": shift}))
    assert np.array_equal(image.affine, STRAIGHT) and (said in caplog.text if said else not caplog.text)


def test_sform_and_qform_half_a_voxel_apart_are_refused(write: Write, volume: np.ndarray) -> None:
    refused(write(volume, affine=STRAIGHT, patch={"qoffset_x": 0.5}), r"E-GEOM-02(?s:.*)0\.5 mm")


@pytest.mark.parametrize(
    ("field", "value"), [("srow_x", [0, 0, 0, 0]), ("srow_y", [np.nan, 0, 0, 0]), ("srow_z", [1, 0, 0, 0])]
)
def test_a_singular_affine_is_printed(write: Write, volume: np.ndarray, field: str, value: list[float]) -> None:
    refused(
        write(volume, affine=STRAIGHT, patch={field: value}),
        r"E-GEOM-06: affine is singular or not finite(?s:.*)sform \[\[",
    )


@pytest.mark.parametrize(
    ("descrip", "words"), [(b"FSL5.0 of JANE", r"\]\], written by FSL\n"), (b"of JANE DOE", r"\]\]\n")]
)
def test_a_singular_affine_names_the_program_but_nothing_else_of_the_description(
    write: Write, volume: np.ndarray, descrip: bytes, words: str
) -> None:
    refused(write(volume, affine=STRAIGHT, patch={"srow_x": [0, 0, 0, 0], "descrip": descrip}), words)


def test_shear_is_refused_with_its_size(write: Write, volume: np.ndarray) -> None:
    sheared = STRAIGHT.copy()
    sheared[1, 2] = 5.0 * np.tan(np.radians(15.0))
    refused(
        write(volume, affine=STRAIGHT, patch={"srow_y": sheared[1], "qform_code": 0}),
        r"E-GEOM-05: affine is sheared(?s:.*)15 degrees",
    )


def test_a_shear_that_moves_no_corner_by_half_a_voxel_is_remarked(write: Write, volume: np.ndarray) -> None:
    """0.1 degrees: the slice axis leans by 0.009 mm a slice of 5 mm, which voxels of 1 mm do not show."""
    sheared = STRAIGHT.copy()
    sheared[1, 2] = 5.0 * np.tan(np.radians(0.1))
    with collect_remarks() as remarks:
        image = read_image(write(volume, affine=STRAIGHT, patch={"srow_y": sheared[1], "qform_code": 0}))
    assert [one.code for one in remarks] == ["E-GEOM-05"] and "0.1 degrees off a right angle" in remarks[0].found
    np.testing.assert_allclose(image.affine, sheared, atol=1e-6)


def test_a_shear_that_a_large_grid_shows_is_refused(write: Write) -> None:
    """0.2 degrees over 400 lines are more than half a voxel."""
    sheared = STRAIGHT.copy()
    sheared[0, 1] = np.linalg.norm(sheared[:3, 1]) * np.tan(np.radians(0.2))
    path = write(np.zeros((400, 400, 1), np.uint8), affine=STRAIGHT, patch={"srow_x": sheared[0], "qform_code": 0})
    refused(path, r"E-GEOM-05(?s:.*)0.2 degrees")


def test_an_oblique_slab_is_not_sheared(write: Write, volume: np.ndarray) -> None:
    turn = np.radians(20.0)
    oblique = STRAIGHT.copy()
    oblique[1:3, 1:3] = [[np.cos(turn), -np.sin(turn) * 5], [np.sin(turn), np.cos(turn) * 5]]
    assert np.allclose(read_image(write(volume, affine=oblique)).affine, oblique, atol=1e-6)


@pytest.mark.parametrize(("unit", "name"), [(1, "metre"), (3, "micron")])
def test_other_units_than_millimetres_are_refused(write: Write, volume: np.ndarray, unit: int, name: str) -> None:
    refused(write(volume, patch={"xyzt_units": unit}), rf"E-GEOM-07(?s:.*)unit {name}")


@pytest.mark.parametrize(("factor", "back"), [(0.1, 10), (0.001, 1000), (1000.0, 0.001)])
@pytest.mark.parametrize("spacing", [(0.75, 0.75, 5.0), (2.0, 2.0, 2.0)])
def test_a_head_of_centimetres_metres_or_microns_that_pass_for_millimetres_is_refused(
    write: Write, spacing: tuple[float, ...], factor: float, back: float
) -> None:
    values, affine = np.zeros((110, 96, 3), np.int16), np.diag([*spacing, 1.0])
    assert read_image(write(values, affine=affine)).spacing_mm == spacing
    refused(
        write(values, affine=affine @ np.diag([factor, factor, factor, 1])),
        rf"E-GEOM-07(?s:.*)view(?s:.*)times {back}\)",
    )


def test_an_unknown_unit_is_read_as_millimetres(write: Write, volume: np.ndarray) -> None:
    assert read_image(write(volume, patch={"xyzt_units": 0})).spacing_mm == (1.0, 2.0, 5.0)


def test_several_faults_come_in_one_error(write: Write, volume: np.ndarray) -> None:
    path = write(volume, codes=(0, 0), patch={"xyzt_units": 1, "datatype": 32})
    refused(path, r"E-VAL-01: image holds complex numbers, and 2 more(?s:.*)E-GEOM-07(?s:.*)E-GEOM-01")


@pytest.mark.parametrize("slope", [np.inf, -np.inf])
def test_an_infinite_slope_is_none_as_other_readers_have_it(write: Write, volume: np.ndarray, slope: float) -> None:
    with collect_remarks() as remarks:
        image = read_image(write(volume.astype(np.int16), patch={"scl_slope": slope, "scl_inter": 3.0}))
    assert np.array_equal(np.unique(image.data), np.unique(volume.astype(np.int16)))
    assert [one.code for one in remarks] == ["E-VAL-12"]


@pytest.mark.parametrize(("slope", "inter"), [(2.0, np.nan), (1.0, np.inf)])
def test_scale_factors_that_are_not_finite_are_refused(
    write: Write, volume: np.ndarray, slope: float, inter: float
) -> None:
    refused(write(volume, patch={"scl_slope": slope, "scl_inter": inter}), r"E-VAL-12: scale factors are not finite")


@pytest.mark.parametrize(("affine", "remarked"), [(np.eye(4), True), (np.diag([-1.0, -1, 1, 1]), False)])
def test_the_identity_is_remarked_as_the_affine_that_stands_for_none(
    write: Write, volume: np.ndarray, affine: np.ndarray, remarked: bool
) -> None:
    with collect_remarks() as remarks:
        assert read_image(write(volume, affine=affine)).spacing_mm == (1, 1, 1)
    assert [one.code for one in remarks] == (["E-GEOM-11"] if remarked else [])


_OTHER = {"sform_code": "qform_code", "qform_code": "sform_code"}


@pytest.mark.parametrize("field", _OTHER)
@pytest.mark.parametrize("code", [6, 5202])
def test_an_orientation_code_that_nifti_does_not_have_is_remarked(
    write: Write, volume: np.ndarray, field: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = read_image(write(volume)).affine
    np.testing.assert_allclose(read_image(write(volume, patch={field: code})).affine, wanted, atol=1e-5)
    assert "E-GEOM-08" in caplog.text and f"{field[:5]} code {code}; 0 to 5 are known" in caplog.text
    both = write(volume, patch={field: code, "srow_x": [-1, 0, 0, 90]})  # the form whose code is known counts
    theirs = nibabel.as_closest_canonical(nibabel.load(both)).affine
    np.testing.assert_allclose(read_image(both).affine, theirs, atol=1e-5)
    assert theirs[0, 3] == (87 if field == "qform_code" else 7)  # 90 or 10, less three voxels of 1 mm
    for none_known in ({"sform_code": code, "qform_code": code}, {field: code, _OTHER[field]: 0}):
        refused(write(volume, patch=none_known), "E-GEOM-08")  # nibabel takes its default place, ITK the form
    refused(write(volume, patch={field: -1}), "E-GEOM-08(?s:.*)code -1")
    refused(write(volume, patch={"sform_code": -1, "qform_code": -1}), "E-GEOM-01(?s:.*)sform code -1")


@pytest.mark.parametrize("shape", [(4, 3, 2, 1), (4, 3, 2, 1, 1), (4, 3, 2, 1, 1, 1, 1)])
def test_further_axes_of_one_go_with_a_remark(
    write: Write, volume: np.ndarray, shape: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    path = write(volume.reshape(shape))
    assert np.array_equal(read_image(path, kind="ct").data, read_image(write(volume, "b.nii")).data)
    assert "E-DIM-09" in caplog.text and str(shape) in caplog.text


@pytest.mark.parametrize("length", [0, 4096, -5])
def test_a_wrong_length_of_the_header_is_remarked(
    write: Write, volume: np.ndarray, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = read_image(write(volume, patch={"sizeof_hdr": length}))
    np.testing.assert_array_equal(found.data, read_image(write(volume)).data)
    assert "E-FILE-22: header misstates its own length" in caplog.text and f"length {length}" in caplog.text
    refused(write(volume, patch={"sizeof_hdr": length, "magic": b"n?1"}), "E-FILE-03")
