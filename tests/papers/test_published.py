"""Numbers of the papers, typed here from the papers' pages, against the tables of the package."""

from __future__ import annotations

import statistics

import pytest

from monai_isles.errors import IslesError
from monai_isles.papers.published import published_rows, published_tables

FACTS = [
    ("abulnaga", "table1", "fold 2", "cross_entropy", 0.37, None),
    ("abulnaga", "table1", "fold 5", "focal", 0.58, None),
    ("abulnaga", "table1", "total", "focal", 0.54, 0.09),
    ("abulnaga", "table1", "total", "cross_entropy", 0.49, 0.11),
    ("abulnaga", "table2", "ours", "avd_ml", 10.18, None),
    ("abulnaga", "table2", "ours", "sensitivity", 0.43, None),
    ("abulnaga", "table2", "best", "hd_mm", 0.97, None),
    ("abulnaga", "figure3", "PSPNet (pre-trained)", "focal", 0.54, 0.09),
    ("wang", "table1", "GAN", "local_ssim", 0.37, 0.17),
    ("wang", "table1", "w-L2", "psnr_db", 19.43, 3.42),
    ("wang", "table1", "w-L2 + l_h1", "dsc", 0.5125, 0.1743),
    ("wang", "table2", "F_o, F_l, F_h", "local_psnr_db", 14.11, 3.98),
    ("wang", "table2", "real DWI", "dsc", 0.7217, 0.1954),
    ("wang", "table3", "ResUNet", "ppv", 0.6646, 0.1932),
    ("wang", "table3", "SLNet (w/o SE)", "assd_mm", 2.16, 1.90),
    ("wang", "table4", "L_GD", "hd_mm", 36.87, 29.61),
    ("wang", "table4", "L_WCE + L_HGD", "sensitivity", 0.7351, 0.1748),
    ("wang", "table5", "CTA", "dsc", 0.5610, 0.1422),
    ("wang", "table5", "DWI^o,l,h", "rve", 0.68, 1.36),
    ("wang", "table5", "DWI^o,l,h (s)", "sensitivity", 0.7780, 0.1356),
    ("wang", "table5", "real DWI", "hd_mm", 15.90, 14.13),
    ("wang", "table6", "Liu 2018", "ppv", 0.56, 0.37),
    ("wang", "figure10", "10-50 ml", "dsc", 0.6887, None),
    ("clerigues_mri", "table1_siss", "Baseline", "hd_vox", 43.7, 32.6),
    ("clerigues_mri", "table1_siss", "Proposed", "dsc", 0.71, 0.19),
    ("clerigues_mri", "table1_spes", "Balanced", "sensitivity", 0.85, 0.17),
    ("clerigues_mri", "table1_spes", "Proposed", "ppv", 0.85, 0.13),
    ("clerigues_mri", "table2", "Proposed (clera2)", "hd_mm", 34.7, 28.9),
    ("clerigues_mri", "table3", "ghosp1", "hd_mm", 57.1, 25.4),
    ("clerigues", "table1", "+RT +SM +UF", "hd_mm", 23.5, 15.8),
    ("clerigues", "table1", "Baseline", "dsc", 0.49, 0.236),
    ("clerigues", "table2", "clera2 (ours)", "sensitivity", 0.57, 0.35),
]


@pytest.mark.parametrize(("paper", "table", "row", "metric", "mean", "sd"), FACTS)
def test_the_number_is_that_of_the_paper(
    paper: str, table: str, row: str, metric: str, mean: float, sd: float | None
) -> None:
    found = published_tables(paper)[table][row]["metrics"][metric]
    assert found["mean"] == pytest.approx(mean, abs=1e-9)
    assert found["sd"] == (None if sd is None else pytest.approx(sd, abs=1e-9))


def test_every_row_of_the_papers_is_there() -> None:
    sizes = {key: len(rows) for key, rows in published_tables("wang").items()}
    assert sizes == {"table1": 7, "table2": 5, "table3": 7, "table4": 6, "table5": 8, "table6": 5, "figure10": 3}
    assert {key: len(rows) for key, rows in published_tables("abulnaga").items()} == {
        "table1": 6,
        "table2": 3,
        "figure3": 5,
    }
    assert {key: list(rows) for key, rows in published_tables("clerigues_mri").items() if "1" in key} == dict.fromkeys(
        ("table1_siss", "table1_spes"), ["Baseline", "Balanced", "Proposed"]
    )


def test_the_totals_of_abulnaga_are_mean_and_sd_over_the_five_folds() -> None:
    table = published_tables("abulnaga")["table1"]
    for loss in ("focal", "cross_entropy"):
        folds = [table[f"fold {number}"]["metrics"][loss]["mean"] for number in range(1, 6)]
        total = table["total"]["metrics"][loss]
        assert statistics.mean(folds) == pytest.approx(total["mean"], abs=0.0061)
        assert statistics.stdev(folds) == pytest.approx(total["sd"], abs=0.005)
    assert (table["total"]["n"], table["total"]["of"]) == (5, "folds")


def test_rows_of_one_run_agree_between_the_tables_that_repeat_them() -> None:
    wang = published_tables("wang")
    assert wang["table1"]["w-L2 + l_h1"]["metrics"] == wang["table2"]["F_o"]["metrics"]
    assert wang["table3"]["SLNet"]["metrics"] == wang["table4"]["L_CE"]["metrics"]
    same = wang["table4"]["L_WCE + L_HGD"]["metrics"]
    assert {key: wang["table5"]["F_o"]["metrics"][key] for key in same} == same


def test_what_a_paper_does_not_print_is_none() -> None:
    figure = published_tables("abulnaga")["figure3"]
    assert all(figure["3D V-Net"]["metrics"][loss]["mean"] is None for loss in ("focal", "cross_entropy"))
    assert figure["PSPNet (pre-trained)"]["pretraining_dice_points"] == 7
    assert published_tables("wang")["table2"]["real DWI"]["metrics"]["ssim"]["mean"] is None


def test_thresholds_sizes_and_parameters_stand_in_the_row() -> None:
    siss, spes = (published_tables("clerigues_mri")[f"table1_{task}"] for task in ("siss", "spes"))
    assert [(r["threshold"], r["min_size_vox"]) for r in siss.values()] == [(0.4, 50), (0.4, 200), (0.5, 200)]
    assert [(r["threshold"], r["min_size_vox"]) for r in spes.values()] == [(0.6, 500), (0.4, 500), (0.5, 200)]
    assert (siss["Baseline"]["n"], spes["Baseline"]["n"]) == (28, 30)
    parameters = [row["parameters_m"] for row in published_tables("wang")["table3"].values()]
    assert parameters == [18.64, 31.04, 39.09, 81.91, 33.84, 31.04, 33.84]


def test_rows_for_a_cohort_carry_paper_data_and_method_in_their_name() -> None:
    for task in ("siss", "spes"):
        rows = published_rows(f"clerigues_mri_{task}")
        assert [name.rsplit(": ", 1)[1] for name in rows] == ["Baseline", "Balanced", "Proposed"]
        assert all(f"ISLES 2015 {task.upper()}" in name for name in rows)
    assert len(published_rows("wang")) == 8 and len(published_rows("abulnaga")) == 1


def test_the_tables_handed_out_are_copies() -> None:
    published_tables("wang")["table1"]["L1"]["metrics"]["dsc"]["mean"] = 1.0
    assert published_tables("wang")["table1"]["L1"]["metrics"]["dsc"]["mean"] == pytest.approx(0.4945)


def test_an_unknown_paper_is_refused_with_the_known_ones() -> None:
    with pytest.raises(IslesError, match=r"E-REP-09.*\n.*nobody\n.*abulnaga, clerigues, clerigues_mri, wang"):
        published_tables("nobody")
