"""Tables of methods side by side."""

from __future__ import annotations

import pytest

from monai_isles.errors import IslesError
from monai_isles.evaluation import summarise
from monai_isles.papers.published import published_rows
from monai_isles.reports.page import environment
from monai_isles.reports.tables import Summaries, as_markdown, as_text, page_table

DISTANCES = dict.fromkeys(
    ("hd_mm", "hd95_mm", "assd_mm", "assd_half_sum_mm", "hd_vox", "diagonal_mm", "diagonal_vox", "rve", "lesion_f1"),
    8.0,
)


def row(dsc: float, ref: float, pred: float, **more: object) -> dict[str, object]:
    base = {
        **DISTANCES,
        "subject": f"s{ref}",
        "dsc": dsc,
        "ppv": 0.5,
        "sensitivity": 0.25,
        "avd_ml": abs(ref - pred),
        "lesion_ml_ref": ref,
        "lesion_ml_pred": pred,
        "lesion_f1_iou25": 0.5,
        "lesion_pq": 0.5,
        "empty": "none",
        "missing": 0,
    }
    return {**base, **more}


ROWS = {
    "net <b>|x": summarise(
        [row(0.2, 10, 12), row(0.6, 30, 28), row(0, 5, 0, empty="prediction", hd_mm=float("nan"))], resamples=50
    )
}


def test_mean_sd_interval_median_n_and_counts_are_printed() -> None:
    text = as_text(ROWS)
    assert "0.267 ± 0.306" in text and "0.200" in text  # mean, sd and median of 0, 0.2, 0.6
    low, high = ROWS["net <b>|x"]["metrics"]["dsc"]["ci95"]
    assert f"{low:.3f} to {high:.3f}" in text
    assert "3 (3 subjects)" in text and "8.0 ± 0.0 (n 2)" in text
    assert (
        "0 references empty, 1 predictions empty, 0 both; 0 predictions missing; 1 distances undefined (HD 8.0 mm"
        in text
    )
    assert "Dice: both empty 1, one empty 0" in text


@pytest.mark.parametrize(("subjects", "told"), [(15, True), (16, False)])
def test_an_interval_of_few_subjects_is_called_too_narrow(subjects: int, told: bool) -> None:
    rows = {"net": summarise([row(0.5, 10.0 + k, 12.0) for k in range(subjects)], resamples=50)}
    assert ("too narrow for fewer than 16" in as_text(rows)) is told


def test_a_published_row_stands_below_and_says_that_it_is_other_data() -> None:
    text = as_text(ROWS, published_rows("clerigues"))
    assert (
        "0.547 ± 0.242" in text and "23.5 ± 15.8 (unit not stated)" in text and "0.82" in text and "other cases" in text
    )
    assert "other cases" not in as_text(ROWS)


def test_no_paper_of_that_name() -> None:
    with pytest.raises(IslesError, match=r"E-REP-09.*\n.*nobody\n.*clerigues"):
        published_rows("nobody")


def as_html(rows: Summaries, published: Summaries | None = None) -> str:
    return environment().get_template("_methods.html").render(table=page_table(rows, published))


def test_html_escapes_names_and_marks_published_rows() -> None:
    html = as_html(ROWS, {"<i>paper": {"n": 3, "metrics": {"dsc": {"mean": 0.5, "sd": None}}}})
    assert (
        "<b>" not in html
        and "net &lt;b&gt;|x" in html
        and '<tr class="published"><th scope="row">&lt;i&gt;paper' in html
    )
    assert "0.500 ± –" in html and "<small>median 0.200</small>" in html


def test_a_name_cannot_break_a_markdown_table() -> None:
    lines = as_markdown(ROWS).splitlines()
    assert lines[0] == "| Method | net &lt;b>\\|x |" and lines[1] == "| --- | ---: |"


def test_each_paper_has_a_table_of_the_numbers_it_prints() -> None:
    lines = as_markdown(ROWS, published_rows("clerigues")).splitlines()
    assert "| Clèrigues 2019, ISLES 2018 training, 5 folds | n | Dice | PPV | Sensitivity | HD, mm | R² |" in lines
    row = "| +RT +SM +UF | 94 | 0.547 ± 0.242 | 0.578 ± 0.291 | 0.609 ± 0.250 | 23.5 ± 15.8 (unit not stated) | 0.82 |"
    assert row in lines and "| HD95, mm | 8.0 ± 0.0 |" in lines


def test_a_metric_nobody_has_is_left_out() -> None:
    html = as_html({"m": {"n": 1, "metrics": {"dsc": {"n": 1, "mean": 0.5, "sd": None, "median": 0.5, "ci95": None}}}})
    assert "HD95" not in html and "Dice" in html


def test_distances_in_voxels_stand_beside_a_paper_that_prints_them() -> None:
    text = as_text(ROWS, published_rows("clerigues_mri_siss"))
    assert "HD, voxels" in text and "43.7 ± 32.6" in text
    assert "HD, voxels" not in as_text(ROWS, published_rows("clerigues")) and "HD, voxels" not in as_text(ROWS)
