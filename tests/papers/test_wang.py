"""The rows of Wang's tables are those that the paper prints, each with an overlay in the bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.data.input_rows import ROWS as INPUTS
from monai_isles.errors import IslesError
from monai_isles.papers.published import published_tables
from monai_isles.papers.wang import AGAINST, ROWS, chosen_rows, require_dwi, require_free

BUNDLE = Path(__file__).parents[2] / "bundles/wang"


def test_every_row_is_one_that_the_paper_prints_and_none_is_left_out() -> None:
    printed = published_tables("wang")
    for table, rows in ROWS.items():
        assert [row.name for row in rows] == list(printed[f"table{table}"])
        assert set(AGAINST[table]) <= {row.name for row in rows}


def test_every_row_has_an_overlay_that_reads_what_the_row_says() -> None:
    for row in (row for rows in ROWS.values() for row in rows):
        overlay = Bundle(BUNDLE).overlay(row.key)
        assert overlay["inputs"] == row.inputs, row.key
        assert overlay["modalities"] == INPUTS[row.inputs].reads, row.key
        assert overlay["without_dwi"] is None, "a row must not become another one in silence"


def test_rows_are_found_by_their_printed_and_by_their_short_name() -> None:
    assert [row.key for row in chosen_rows([5], [])] == [row.key for row in ROWS[5]]
    found = chosen_rows([4, 5], ["real DWI", "fo", "table4_ce"])
    assert [(row.table, row.name) for row in found] == [(4, "L_CE"), (5, "F_o"), (5, "real DWI")]


def test_a_row_that_no_table_has_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-REPR-31: no such row(?s:.*)found dwi_x(?s:.*)DWI\^o,l \(table5_dwi_ol\)"):
        chosen_rows([5], ["dwi_x", "fo"])


@pytest.mark.parametrize("key", ["inputs", "+segmenter#base_channels", "terms", "stages::0"])
def test_a_setting_that_the_rows_differ_in_is_refused(key: str) -> None:
    require_free(["base_channels", "max_epochs", "lr"])
    with pytest.raises(IslesError, match="E-REPR-32: the rows of the tables decide this setting"):
        require_free(["max_epochs", key])


def test_scans_without_dwi_are_refused_for_the_rows_that_need_it_only() -> None:
    cases = [{"case": "a", "dwi": "a.nii"}, {"case": "b"}]
    plain = chosen_rows([3, 5], ["slnet", "cta", "fo"])
    assert [row.name for row in plain] == ["SLNet", "CTA", "F_o"]
    require_dwi(plain, cases)
    with pytest.raises(IslesError, match=r"E-REPR-33(?s:.*)where DWI\^o, real DWI\n\s+found 1 of 2 scans .*: b"):
        require_dwi(chosen_rows([5], ["dwi_o", "real_dwi", "fo"]), cases)
