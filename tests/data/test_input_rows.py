"""The rows of Table 5 read what they need, and data without DWI change the row aloud."""

from __future__ import annotations

import logging

import pytest

from monai_isles.data import input_row
from monai_isles.errors import IslesError

WITH = {"training": [{"case": "a", "dwi": "a.nii"}, {"case": "b"}]}
WITHOUT = {"training": [{"case": "a"}, {"case": "b"}]}


@pytest.mark.parametrize(
    ("name", "channels", "seen", "plain"),
    [
        ("cta", ["frames"], 6, True),
        ("fo", ["cbf", "cbv", "mtt", "tmax"], 4, True),
        ("dwi_o", ["cbf", "cbv", "mtt", "tmax"], 1, False),
        ("dwi_ol", ["cbf", "cbv", "mtt", "tmax", "mip"], 1, False),
        ("dwi_olh", ["cbf", "cbv", "mtt", "tmax", "mip", "frames"], 1, False),
        ("fo_dwi", ["cbf", "cbv", "mtt", "tmax", "mip", "frames"], 5, False),
        ("real_dwi", ["dwi"], 1, True),
    ],
)
def test_each_row_stacks_what_the_table_names(name: str, channels: list[str], seen: int, plain: bool) -> None:
    row = input_row(name)
    assert (row.channels, row.segmenter_channels, row.plain) == (channels, seen, plain)
    assert row.reads == ["ctp"] if name == "cta" else "ctp" not in row.reads or len(row.reads) == 5
    assert ("ctp" in row.reads) == bool({"mip", "frames"} & set(channels))
    assert row.target == (["label", "weight"] if plain else ["label", "dwi", "weight"])
    assert row.extras == ([] if plain else ["pseudo_dwi"])


def test_without_any_dwi_the_maps_are_trained_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        row = input_row("dwi_olh", data_list=WITHOUT, without_dwi="fo")
    assert row.name == "fo" and row.plain and "none of the 2 training cases has a DWI" in repr(row)
    assert "training fo instead of dwi_olh" in caplog.text and "--overlay fo" in caplog.text


def test_one_case_with_a_dwi_does_not_leave_out_the_others() -> None:
    row = input_row("dwi_olh", data_list={"training": [*WITH["training"], {"case": "c"}]}, without_dwi="fo")
    assert row.name == "fo" and "1 of the 3 training cases has a DWI" in row.note


@pytest.mark.parametrize(
    ("wanted", "data_list", "without_dwi"),
    [("dwi_olh", WITH, "fo"), ("dwi_olh", WITHOUT, None), ("dwi_o", None, "fo"), ("real_dwi", WITHOUT, "fo")],
    ids=["some have one", "never to be changed", "no list", "the row is the DWI itself"],
)
def test_otherwise_the_wish_stands(
    wanted: str, data_list: dict | None, without_dwi: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    row = input_row(wanted, data_list=data_list, without_dwi=without_dwi)
    assert row.name == wanted and not row.note and not caplog.text


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-LIST-50.*choice of inputs is not known(?s:.*)dwi_olh"):
        input_row("dwi")
