"""Rows of paper.json: those that the papers print, found by name, equal ones trained once, wrong wishes refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.data.input_rows import ROWS as INPUTS
from monai_isles.errors import IslesError
from monai_isles.papers.published import papers, published_tables
from monai_isles.papers.study import Study, chosen_rows, paper_rows, require_dwi, synthesises

BUNDLES = Path(__file__).parents[2] / "bundles"
WANG = BUNDLES / "wang"


@pytest.mark.parametrize("name", papers())
def test_every_row_builds_a_config_and_its_tables_name_rows_that_are_there(name: str) -> None:
    bundle = BUNDLES / name
    paper, rows = Bundle(bundle).paper, paper_rows(bundle)
    assert len({row.key for row in rows}) == len(rows)
    assert all(Bundle(bundle, row.overlays).config("train").get() for row in rows)
    for table, about in ((table, one) for table, one in paper.get("tables", {}).items() if "against" in one):
        names = [row.name for row in rows if row.table == table]
        assert names == list(published_tables(name)[table]) and set(about["against"]) <= set(names)


def test_every_row_of_wang_reads_what_its_inputs_say() -> None:
    for row in paper_rows(WANG):
        values = Bundle(WANG).overlay(row.key)
        assert values["modalities"] == INPUTS[values["inputs"]].reads, row.key
        assert values["without_dwi"] is None, "a row must not become another one in silence"


def test_rows_are_found_by_their_printed_and_by_their_short_name() -> None:
    assert [row.name for row in chosen_rows(WANG, ["table5"])] == list(published_tables("wang")["table5"])
    found = chosen_rows(WANG, ["table4", "table5"], ["real DWI", "fo", "table4_ce"])
    assert [(row.table, row.name) for row in found] == [("table4", "L_CE"), ("table5", "F_o"), ("table5", "real DWI")]


def test_an_optional_row_is_trained_only_when_named() -> None:
    names = [row.key for row in chosen_rows(BUNDLES / "abulnaga", ["figure3"])]
    assert len(names) == 8 and "pspnet_weighted_cross_entropy" not in names
    (row,) = chosen_rows(BUNDLES / "abulnaga", ["figure3"], ["pspnet_weighted_cross_entropy"])
    assert row.overlays == ("weighted_cross_entropy.json",)


def test_a_row_that_no_table_has_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-REPR-31: no such row(?s:.*)found dwi_x(?s:.*)DWI\^o,l \(table5_dwi_ol\)"):
        chosen_rows(WANG, ["table5"], ["dwi_x", "fo"])


@pytest.mark.parametrize("key", ["inputs", "+segmenter#base_channels", "terms", "stages::0"])
def test_a_setting_that_the_rows_differ_in_is_refused(key: str) -> None:
    Study(WANG, settings={"base_channels": 8, "max_epochs": 2, "lr": 0.1})
    with pytest.raises(IslesError, match="E-REPR-01: the rows of the table decide this setting"):
        Study(WANG, settings={"max_epochs": 1, key: 1})


@pytest.mark.parametrize("key", ["gamma", "loss#gamma", "spatial_dims"])
def test_one_loss_for_both_columns_of_abulnaga_is_refused(key: str) -> None:
    with pytest.raises(IslesError, match="E-REPR-01: the rows of the table decide this setting"):
        Study(BUNDLES / "abulnaga", settings={"base_channels": 8, key: 2})


def test_scans_without_dwi_are_refused_for_the_rows_that_need_it_only() -> None:
    study, cases = Study(WANG), [{"case": "a", "dwi": "a.nii"}, {"case": "b"}]
    plain = chosen_rows(WANG, ["table3", "table5"], ["slnet", "cta", "fo"])
    assert [row.name for row in plain] == ["SLNet", "CTA", "F_o"]
    require_dwi(study, plain, cases)
    with pytest.raises(IslesError, match=r"E-REPR-33(?s:.*)where DWI\^o, real DWI\n\s+found 1 of 2 scans .*: b"):
        require_dwi(study, chosen_rows(WANG, ["table5"], ["dwi_o", "real_dwi", "fo"]), cases)
    made = {row.name: synthesises(study, row) for row in chosen_rows(WANG, ["table5"])}
    assert not made["CTA"] and not made["real DWI"] and made["DWI^o,l,h"]


def test_rows_of_one_config_share_the_folder_of_the_first() -> None:
    shared = {key: folder for key, folder in Study(WANG).folders().items() if key != folder}
    assert shared == {"table2_fo": "table1_wl2_h1", "table4_ce": "table3_slnet", "table5_fo": "table4_wce_hgd"}


def test_the_studys_overlays_lie_above_the_rows_or_below_where_the_paper_says_so() -> None:
    row = paper_rows(WANG)[0]
    assert Study(WANG, overlays=("small.json",)).open(row).overlays == ("table1_l1", "small.json")
    bundle = BUNDLES / "clerigues_mri"
    (last,) = chosen_rows(bundle, ["table1"], ["Baseline"])
    assert Study(bundle, overlays=("spes.json",)).open(last).overlays == ("spes.json", "baseline.json")
