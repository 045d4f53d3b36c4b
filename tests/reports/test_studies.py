from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from monai_isles.reports.studies import COLUMNS, _plots, find_outliers, methods_text, publish_studies

ROOT = Path(__file__).parents[2]
VOLUMES = [8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 900.0]
SOURCE = {
    "frames": 45,
    "dt_s": 1.0,
    "coverage": {"slices": 8, "mm": 80.0},
    "tube_kv": 80.0,
    "scan": {"seconds": 44.0, "wanted_s": 39.5},
    "simulated": True,
    "settings": {
        "method": "bayes", "truncation": 0.5, "smoothing_mm": 5.0, "vessel_cbv_ml_100g": 9.0, "density_g_ml": 1.04,
        "hematocrit_factor": 0.73,
    },
}  # fmt: skip


def result_of(number: int, lesion_ml: float) -> dict:
    perfusion = {
        "core_ml": 5.0, "hypoperfused_ml": 20.0, "penumbra_ml": 15.0, "mismatch_ml": 15.0, "mismatch_ratio": 4.0,
        "defuse3": True, "tmax_ml": {"4": 30.0, "6": 20.0, "8": 10.0, "10": 5.0}, "core_rcbf": 0.3, "delay_s": 6.0,
        "min_cluster_ml": 1.0, "hir": 0.25, "rcbf_ml": {"20": 2.0, "30": 5.0},
    }  # fmt: skip
    quality = [{"code": "few-slices", "severity": "warning", "text": "2 slices <b>only</b>"}] if number < 3 else []
    return {
        "lesion_ml": lesion_ml, "lesion_ml_interval": [lesion_ml - 2, lesion_ml + 3], "perfusion": perfusion,
        "quality": quality, "source": SOURCE, "bundle": "clerigues", "threshold": 0.2, "seconds": 2.5,
        "remarks": ["E-VAL-16: CT padded: case: 12 voxels"] if number == 0 else [],
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, dict]:
    return tmp_path, write_run(tmp_path)


def write_run(tmp_path: Path) -> dict:
    """Nine studies that were done, one of them of 900 ml and one with markup in its name, and one that failed."""
    cases = {}
    for number, volume in enumerate(VOLUMES):
        name = f"study_{number}" if number else "<i>a"
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result_of(number, volume)))
        (tmp_path / name / "report.html").write_text("page")
        cases[name] = {"outcome": "ok", "lesion_ml": volume, "seconds": 2.5}
    cases["broken"] = {"outcome": "failed", "error": "E-SCAN-01: no images\n  where broken"}
    record = {"bundle": "clerigues", "weights": {"model.pt": "ab" * 32}, "cases": cases, "settings": {"step": [4, 4]}}
    publish_studies(
        tmp_path, record, ["Clerigues A. et al. Core segmentation (2019). doi:10.1016/j.compbiomed.2019.103487"]
    )
    return record


class Page(HTMLParser):
    """Collect links, elements and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "a" and known.get("href"):
            self.links.append(str(known["href"]))
        self.sources += [str(known[key]) for key in ("src", "data") if key in known]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_the_table_has_one_row_a_study_with_its_numbers(run: tuple[Path, dict]) -> None:
    out, _ = run
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["study"]: row for row in csv.DictReader(file)}
    assert len(rows) == 10 and list(rows["broken"]) == [column.name for column in COLUMNS]
    one = rows["study_3"]
    assert (one["outcome"], one["lesion_ml"], one["lesion_lower_ml"], one["lesion_upper_ml"]) == (
        "ok",
        "11.0",
        "9.0",
        "14.0",
    )
    assert (one["core_ml"], one["tmax_10_ml"], one["hir"], one["mismatch_ratio"]) == ("5.0", "5.0", "0.25", "4.0")
    assert (one["coverage_mm"], one["frames"], one["page"]) == ("80.0", "45", "study_3/report.html")
    assert (one["rcbf_20_ml"], one["rcbf_38_ml"], one["tube_kv"]) == ("2.0", "", "80.0")
    assert (one["scan_s"], one["scan_wanted_s"], one["dawn"]) == ("44.0", "39.5", "")
    assert rows["<i>a"]["remarks"] == "few-slices E-VAL-16"
    assert rows["broken"]["error"] == "E-SCAN-01: no images" and rows["broken"]["lesion_ml"] == ""


def test_pandas_reads_the_table_and_parquet_holds_the_same(run: tuple[Path, dict]) -> None:
    out, _ = run
    table = pd.read_csv(out / "results.csv")
    assert table["lesion_ml"].dropna().tolist() == VOLUMES
    pytest.importorskip("pyarrow")
    assert pd.read_parquet(out / "results.parquet")["lesion_ml"].dropna().tolist() == VOLUMES


def test_only_the_volume_far_from_the_others_is_an_outlier() -> None:
    rows = pd.DataFrame({"study": [str(n) for n in range(9)], "lesion_ml": VOLUMES})
    rows = rows.reindex(columns=[column.name for column in COLUMNS])
    (one,) = find_outliers(rows)
    assert (one.study, one.name, one.value, one.usual) == ("8", "lesion_ml", 900.0, 12.0)
    assert not find_outliers(rows.drop([0, 7]))  # seven studies are too few
    steps = rows.assign(lesion_ml=None, dt_s=[4.0] + [1.0] * 8)
    assert [one.name for one in find_outliers(steps)] == ["dt_s"]  # all others are the same


def test_the_page_names_what_stands_out_and_links_to_every_page(run: tuple[Path, dict]) -> None:
    out, _ = run
    text = (out / "studies.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [link for link in page.links if link.endswith("report.html")][0] == "%3Ci%3Ea/report.html"
    assert sum(link.endswith("report.html") for link in page.links) == 9
    said = " ".join(page.words)
    assert "E-SCAN-01: no images" in said and "Lesion, ml: 900, median of all 12" in said
    assert "few-slices" in said and "E-VAL-16" in said and "Simulated data" in said
    assert "2 slices <b>only</b>" in said  # as text: markup of a remark never becomes the page's
    assert re.search(r"<th scope=\"row\">few-slices</th><td data-value=\"3\">3</td>", text)
    assert not page.sources and not re.findall(r"https?://(?!www\.w3\.org)", text)


def test_a_run_without_a_result_leaves_no_tables_of_the_run_before(run: tuple[Path, dict]) -> None:
    out, record = run
    record |= {"settings": {"threshold": 0.5, "min_size_vox": None}}
    publish_studies(out, record)
    text = (out / "methods.md").read_text(encoding="utf-8")
    assert "`threshold`" in text and "min_size_vox" not in text
    cases = {"broken": {"outcome": "failed", "error": "E-SCAN-01: no images\n  where broken"}}
    assert publish_studies(out, {**record, "cases": cases}) == []
    assert not {"results.csv", "studies.html", "methods.md"} & {path.name for path in out.iterdir()}


def test_the_methods_name_versions_settings_thresholds_and_references(run: tuple[Path, dict]) -> None:
    out, _ = run
    text = (out / "methods.md").read_text(encoding="utf-8")
    assert "monai_isles" in text and "torch" in text and f"`{'ab' * 8}`" in text
    assert "method `bayes` (setting 0.5) [@boutelier2012]" in text and "over 5.0 mm" in text
    assert "below 30 % of the mean of the other hemisphere" in text and "Tmax above 6 s" in text
    assert "Studies processed: 9 of 10; 1 could not be processed (broken)." in text
    assert "| `step` | [4, 4] |" in text
    cited = set(re.findall(r"@(\w+)[;\]]", text))
    entries = set(re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE))
    assert cited <= entries and "bundle1" in cited and text.count("{") == text.count("}")
    assert "doi = {10.1016/j.compbiomed.2019.103487}" in text


def test_methods_of_maps_that_were_given_say_nothing_of_their_making() -> None:
    text = methods_text({"bundle": "threshold", "weights": {}, "cases": {}}, [{"lesion_ml": 1.0}])
    assert "with no trained weights" in text and "contrast series" not in text and "boutelier2012" not in text


def test_studies_are_counted_in_whole_numbers() -> None:
    (shown,) = _plots(pd.DataFrame([[2.0], [50.0]], columns=["lesion_ml"]).reindex(columns=[c.name for c in COLUMNS]))
    assert ">1</text>" in shown.svg and not re.search(r">\d\.\d+</text>", shown.svg)


def test_the_docs_name_every_column() -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert [column.name for column in COLUMNS if f"| `{column.name}` |" not in page] == []
