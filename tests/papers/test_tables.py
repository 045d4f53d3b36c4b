"""Our rows beside the published ones, as text and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from result_sentences import read_tests

from monai_isles.errors import IslesError
from monai_isles.papers.published import published_tables
from monai_isles.papers.tables import PaperHead, paper_csv, publish_table, sentences
from monai_isles.reports.tables import Column

HEAD = PaperHead(
    "Wang 2020, Table 3", "phantom", True, 6, "fold 0 of 5", "python tools/reproduce.py wang --table 3", ("a note",)
)
METRICS = (
    Column("parameters_m", "Parameters, M", 2), Column("dsc", "Dice, %", 2, 100), Column("hd_mm", "HD, mm", 1)
)  # fmt: skip
OURS = (
    {
        "name": "SLNet",
        "n": 6,
        "parameters_m": 33.84,
        "metrics": {"dsc": {"mean": 0.5, "sd": 0.125, "n": 6}, "hd_mm": {"mean": 20.25, "sd": 4.0, "n": 5}},
    },
    {"name": "U-Net of ours", "published": "UNet", "n": 6, "metrics": {"dsc": {"mean": 0.4, "sd": None, "n": 6}}},
    {"name": "nobody's", "n": 6, "metrics": {}},
)


def test_every_row_of_ours_is_followed_by_the_published_one_and_the_head_says_all(tmp_path: Path) -> None:
    lines = publish_table(tmp_path, "t", OURS, published_tables("wang")["table3"], METRICS, head=HEAD).splitlines()
    assert lines[:3] == [
        "Wang 2020, Table 3",
        "phantom (simulated data, not patients), n 6; fold 0 of 5",
        "command: python tools/reproduce.py wang --table 3",
    ]
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[4:10]]
    assert cells[0] == ["row", "n", "Parameters, M", "Dice, %", "HD, mm"]
    assert cells[1] == ["SLNet", "6", "33.84", "50.00 +- 12.50", "20.2 +- 4.0 (n 5)"]
    assert cells[2] == ["published", "23", "33.84", "54.45 +- 21.23", "24.0 +- 17.6"]
    assert cells[3] == ["U-Net of ours", "6", "-", "40.00", "-"]
    assert cells[4] == ["published", "23", "31.04", "49.94 +- 19.51", "21.5 +- 13.8"]
    assert cells[5] == ["nobody's", "6", "-", "-", "-"]
    rest = "\n".join(lines[10:])
    assert "published, no row of ours: FCN" in rest and "a note" in rest and "no row of ours: SLNet  " not in rest


def test_real_data_are_not_called_simulated_and_text_beside_a_number_is_kept(tmp_path: Path) -> None:
    head = PaperHead("Abulnaga 2018, Table 2", "ISLES 2018", False, 62, "test", "command")
    metrics = (Column("dsc", "Dice", 2), Column("hd_mm", "HD", 2))
    text = publish_table(tmp_path, "t", [], published_tables("abulnaga")["table2"], metrics, head=head)
    assert "data as given, not simulated" in text and "1.62 (x 1,000,000, as printed)" in text and "6th/38" in text


def test_n_names_what_it_counts(tmp_path: Path) -> None:
    ours = [{"name": "total", "n": 5, "of": "folds", "metrics": {"focal": {"mean": 0.5, "sd": 0.1, "n": 5}}}]
    published, metrics = published_tables("abulnaga")["table1"], [Column("focal", "Focal", 2)]
    text = publish_table(tmp_path, "t", ours, published, metrics, head=HEAD)
    assert text.count("5 folds") == 2 and "0.54 +- 0.09" in text


def test_the_csv_holds_unscaled_numbers_and_the_command_on_every_line_of_ours() -> None:
    rows = list(csv.DictReader(io.StringIO(paper_csv(OURS, published_tables("wang")["table3"], METRICS, head=HEAD))))
    assert [row["kind"] for row in rows[:5]] == ["ours", "published", "ours", "published", "ours"]
    assert float(rows[0]["dsc_mean"]) == 0.5 and float(rows[1]["dsc_mean"]) == 0.5445 and rows[0]["hd_mm_n"] == "5"
    assert rows[0]["command"] == HEAD.command and rows[0]["simulated"] == "True" and rows[1]["command"] == ""
    assert rows[2]["dsc_sd"] == "" and "hd_mm_unit" not in rows[0] and len(rows) == 3 + 7


def test_a_published_name_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    ours = [{"name": "x", "published": "Unet", "n": 1, "metrics": {}}]
    with pytest.raises(IslesError, match=r"E-REP-10: no published row of that name\n.*x\n.*'Unet' among FCN, UNet"):
        publish_table(tmp_path, "t", ours, published_tables("wang")["table3"], METRICS, head=HEAD)


def paired(metric: str, mean: float, p: float, *, row: str = "Balanced", against: str = "Baseline") -> dict:
    cases = {"n": 16, "mean": mean, "p_t": p, "p_wilcoxon": p, "p_t_holm": min(1, 4 * p), "p_wilcoxon_holm": 1.0}
    return {"row": row, "against": against, "metric": metric, "ci95": [mean - 1, mean + 1], "cases": cases,
            "subjects": {**cases, "n": 9}}  # fmt: skip


def test_a_sentence_states_what_differs_and_calls_the_rest_undecided() -> None:
    tests = [paired("dsc", 0.09, 0.19), paired("hd_vox", -26.4, 0.021), paired("ppv", 0.25, 0.04)]
    assert sentences(tests, published_tables("clerigues_mri")["table1_siss"]) == [
        "Balanced against Baseline: Hausdorff distance 26.4 voxels lower (p 0.021, 0.084 corrected); "
        "PPV 25.0 points higher (p 0.04, 0.16 corrected); undecided: Dice +9.0 points (p 0.19). "
        "Published means: Dice +3.0, Hausdorff distance -12.8 voxels, PPV +4.0."
    ]  # 0.67 - 0.64, 30.9 - 43.7, 0.73 - 0.69
    (said,) = sentences([paired("hd_mm", 1.0, 0.5)], None, {"Balanced": -1.08, "Baseline": 0.31})
    assert said.endswith("undecided: Hausdorff distance +1.0 mm (p 0.5); R2 -1.08 after 0.31, not tested.")
    assert sentences([paired("dsc", 0.001, 0.9)]) == ["Balanced against Baseline: undecided: Dice +0.1 points (p 0.9)."]


def test_a_difference_within_the_spread_between_trainings_is_undecided(tmp_path: Path) -> None:
    tests = [{**paired("dsc", 0.03, 0.001), "spread": 0.031}, {**paired("hd_mm", -5.0, 0.001), "spread": 4.9},
             {**paired("ppv", 0.2, 0.001), "spread": None}]  # fmt: skip
    (said,) = sentences(tests)
    assert said == (
        "Balanced against Baseline: Hausdorff distance 5.0 mm lower (p 0.001, 0.004 corrected, sd 4.9 between "
        "trainings); PPV 20.0 points higher (p 0.001, 0.004 corrected, sd - between trainings); "
        "undecided: Dice +3.0 points (p 0.001, sd 3.1 between trainings)."
    )
    text = publish_table(tmp_path, "t", [], {}, METRICS, head=HEAD, tests=tests)
    assert "over the trainings" in text and "One training" not in text
    assert sentences(read_tests(tmp_path / "t_tests.csv")) == [said]


def test_tests_stand_in_text_csv_and_page_with_both_kinds_of_p(tmp_path: Path) -> None:
    tests = [paired("dsc", 0.09, 0.19, row="SLNet", against="<i>x</i>"), paired("hd_mm", -26.4, 0.021)]
    published = published_tables("wang")["table3"]
    text = publish_table(tmp_path, "t", OURS, published, METRICS, head=HEAD, tests=tests)
    assert text == (tmp_path / "t.txt").read_text() and "corrected over the 2 tests of this table" in text
    assert "+9.0 (-91.0 to +109.0)" in text and "Hausdorff distance, mm" in text
    lines = list(csv.DictReader(io.StringIO((tmp_path / "t_tests.csv").read_text())))
    assert [(line["cases_p_t"], line["cases_p_t_holm"], line["subjects_n"]) for line in lines] == [
        ("0.19", "0.76", "9"), ("0.021", "0.084", "9")
    ]  # fmt: skip
    assert sentences(read_tests(tmp_path / "t_tests.csv"), published) == sentences(tests, published)
    page = (tmp_path / "t.html").read_text()
    assert page.count("<table") == 2 and "<i>" not in page and "&lt;i&gt;" in page and "undecided: Dice" in page
    ends = (".txt", ".csv", ".html", "_tests.csv", "_tests.json")
    assert {path.name for path in tmp_path.iterdir()} == {f"t{end}" for end in ends}
