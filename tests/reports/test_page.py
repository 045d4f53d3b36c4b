"""The pages: whole, escaped, without network, without paths of the input."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from monai_isles.evaluation import score_case, summarise
from monai_isles.papers.published import published_rows
from monai_isles.reports.gather import Cohort
from monai_isles.reports.page import case_page, cohort_page
from monai_isles.reports.views import CaseView

Make = Callable[..., CaseView]
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """The tags and words of a page; stray or unclosed tags fail."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source, self.open, self.tags, self.words = path.read_text(encoding="utf-8"), [], [], []
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str, key: str) -> list[str]:
        return [attrs[key] or "" for name, attrs in self.tags if name == tag and key in attrs]


def cohort(cases: list[CaseView], **more: object) -> Cohort:
    rows = [{**(c.scores or {}), **score_case(c.lesion, c.truth, c.spacing_mm), "missing": 0} for c in cases]
    per_case = {"net": rows, f"rule {EVIL}": rows}
    views = (replace(case, scores=row) for case, row in zip(cases, rows, strict=True))
    base = Cohort(
        title="Held-out cases",
        simulated=True,
        summaries={name: summarise(r, resamples=20) for name, r in per_case.items()},
        cases=views,
        per_case=per_case,
        provenance={"bundle": "clerigues", "command": f"report {EVIL}"},
        data="phantom",
        split="fold 0",
    )
    return replace(base, **more)


def test_a_case_page_stands_alone_and_says_what_it_is(tmp_path: Path, case: Make) -> None:
    case_page(case(depth=2), tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    words = " ".join(page.words)
    assert (
        "Research only, not a medical device" in words and "Simulated data" in words and "patient's right (R)" in words
    )
    assert page.all("img", "src") and all(src.startswith("data:image/png;base64,") for src in page.all("img", "src"))
    assert not re.search(r"https?://", re.sub(r'xmlns(:xlink)?="[^"]*"', "", page.source))
    assert "false negative" in words and "reference outline" in words


def test_real_data_carry_no_simulated_banner_and_no_reference_is_no_score(tmp_path: Path, case: Make) -> None:
    case_page(replace(case(depth=2, truth=False), simulated=False), tmp_path / "report.html")
    words = " ".join(Page(tmp_path / "report.html").words)
    assert "Simulated" not in words and "Dice" not in words and "false negative" not in words
    assert "Predicted" in words and "abab" in words and "0.4" in words


def test_the_page_of_the_rule_for_hypoperfusion_names_no_core(tmp_path: Path, case: Make) -> None:
    for target, said in (("hypoperfused", "Predicted hypoperfused tissue"), ("core", "Predicted ischemic core")):
        view = replace(case(depth=2, truth=False), result={"target": target})
        case_page(view, tmp_path / "report.html")
        assert said in " ".join(Page(tmp_path / "report.html").words)


def test_a_case_name_is_escaped_and_paths_of_the_input_stay_out(tmp_path: Path, case: Make) -> None:
    case_page(case(EVIL, depth=2), tmp_path / "a.html")
    cohort_page(cohort([case(EVIL, depth=2)]), tmp_path / "b.html")
    for name in ("a.html", "b.html"):
        page = Page(tmp_path / name)
        assert EVIL in " ".join(page.words) and EVIL not in page.source and "ZZPATIENT" not in page.source
        assert "alert" not in "".join(re.findall(r"<script>.*?</script>", page.source, flags=re.DOTALL))


def test_a_cohort_page_links_every_case_and_prints_every_part(tmp_path: Path, case: Make) -> None:
    curves = [{"epoch": float(e), "train_loss": 1.0 / e, "val_l1_error": 0.5} for e in (1, 2)]
    cases = [case("case_1", depth=2), case("case_2", depth=3, seed=1), case("case_3", depth=2, seed=2, lesion=False)]
    cohort_page(cohort(cases, curves=curves, published=published_rows("clerigues")), tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    ids, words = [attrs["id"] for _, attrs in page.tags if "id" in attrs], " ".join(page.words)
    assert len(ids) == len(set(ids)) and {h[1:] for h in page.all("a", "href")} <= set(ids)
    assert {"case-1", "case-2", "case-3"} <= set(ids) and len(page.all("svg", "aria-label")) == 4
    assert (
        "3 cases of 3 subjects" in words
        and "fold 0" in words
        and "no lesion on either side" in words
        and "0.547" in words
    )
    assert len(page.all("img", "alt")) == len(page.all("img", "src")) == 1 + 2 + 2
    assert len(page.source) < 5 * 80_000 * 4 / 3 + 250_000


def test_only_one_case_is_held_in_memory(tmp_path: Path, case: Make) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    held: list[int] = []

    def cases() -> Iterator[CaseView]:
        for index in range(4):
            gc.collect()
            held.append(sum(ref() is not None for ref in alive))
            view = case(f"case_{index}", depth=1, size=32)
            alive.append(weakref.ref(view.lesion))
            yield view
            del view

    views = cohort([case(depth=1)])
    cohort_page(replace(views, cases=cases(), per_case={}), tmp_path / "page.html")
    assert max(held) <= 1


def test_a_missed_and_an_invented_lesion_are_flagged(tmp_path: Path, case: Make) -> None:
    view = case(depth=2)
    nothing = np.zeros_like(view.lesion)
    for changed, words in (
        ({"lesion": nothing}, "lesion missed"),
        ({"truth": nothing}, "no lesion in the reference"),
        ({"truth": None, "lesion": nothing, "scores": None}, "no lesion predicted"),
    ):
        case_page(replace(view, **changed), tmp_path / "report.html")
        assert words in (tmp_path / "report.html").read_text()


def test_without_figures_or_curves_the_page_is_whole(tmp_path: Path, case: Make) -> None:
    cohort_page(cohort([case(depth=1)], per_case={}), tmp_path / "page.html")
    assert "#figures" not in Page(tmp_path / "page.html").source


def test_without_uncertainty_the_page_says_that_there_is_none(tmp_path: Path, case: Make) -> None:
    view = case(depth=1)
    case_page(view, tmp_path / "with.html")
    case_page(replace(view, uncertainty=None), tmp_path / "without.html")
    cohort_page(cohort([replace(view, uncertainty=None), view], per_case={}), tmp_path / "cohort.html")
    said = {name: " ".join(Page(tmp_path / f"{name}.html").words) for name in ("with", "without", "cohort")}
    assert "No uncertainty map" not in said["with"] and "No uncertainty map" in said["without"]
    assert said["cohort"].count("No uncertainty map") == 1


def test_a_pseudo_dwi_is_called_synthetic_on_the_page(tmp_path: Path, case: Make) -> None:
    view = case(depth=1)
    case_page(replace(view, synthetic={"pseudo_dwi": view.probability}), tmp_path / "a.html")
    words = " ".join(Page(tmp_path / "a.html").words)
    assert "Synthetic pseudo-DWI" in words and "not an acquisition" in words
    case_page(view, tmp_path / "b.html")
    assert "Synthetic" not in (tmp_path / "b.html").read_text()


def test_a_deep_mri_of_many_columns_stays_within_two_megabytes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = {key: random.uniform(0, 500, (96, 110, 40)).astype(np.float32) for key in ("flair", "t1", "t2", "dwi")}
    lesion = np.zeros((96, 110, 40), bool)
    lesion[40:50, 40:50, 5:35] = True
    view = CaseView("deep", images, (2, 2, 2), images["t1"] / 500, None, lesion)
    case_page(view, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert len(page.all("img", "src")) == 14 and len(page.source) < 2_050_000
    assert "Predicted lesion" in " ".join(page.words) and "ischemic core" not in page.source


def predicted_with_a_mirror(case: CaseView) -> CaseView:
    registration = {"method": "midline", "angle_deg": 0.0, "roll_deg": 0.0, "offset_mm": -3.0, "similarity": 0.12}
    registration |= {"matrix": [[-1.0, 0.0], [0.0, 1.0]], "shift_mm": [-6.0, 0.0]}
    remarks = [f"E-REG-03: the head does not match its mirror image {EVIL}"]
    return replace(case, result={**case.result, "registration": registration, "remarks": remarks})


def test_the_mirrored_channels_and_the_remark_stand_on_the_page(tmp_path: Path, case: Make) -> None:
    case_page(predicted_with_a_mirror(case("case_4", depth=1)), tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    text = " ".join(page.words)
    assert "Mirrored channels" in text and "midline 3.0 mm left of the image's middle" in text
    assert "the upright reflection across the middle of the head" in text and "E-REG-03" in text
    assert EVIL not in page.source
    assert any("the same mirrored below" in alt for alt in page.all("img", "alt"))
    case_page(case("case_5", depth=1), tmp_path / "plain.html")
    assert "Mirrored channels" not in " ".join(Page(tmp_path / "plain.html").words)


def test_a_cohort_shows_mirrored_channels_when_asked(tmp_path: Path, case: Make) -> None:
    for asked in (False, True):
        cases = [predicted_with_a_mirror(case(f"case_{n}", depth=1)) for n in (1, 2)]
        cohort_page(cohort(cases, mirrored=asked, per_case={}), tmp_path / "page.html")
        alts = Page(tmp_path / "page.html").all("img", "alt")
        assert sum("the same mirrored below" in alt for alt in alts) == 2 * asked
