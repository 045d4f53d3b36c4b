from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from monai_isles.reports.captures import captures, pdf_bytes, summary_figure
from monai_isles.reports.views import MASKS, CaseView

RESULT = {
    "lesion_ml": 12.5,
    "bundle": "clerigues",
    "weights_sha256": ["ab" * 32],
    "threshold": 0.2,
    "perfusion": {
        "core_ml": 10.0, "hypoperfused_ml": 40.0, "penumbra_ml": 30.0, "mismatch_ml": 30.0, "mismatch_ratio": 4.0,
        "defuse3": True, "tmax_ml": {"6": 40.0, "10": 10.0},
    },
    "quality": [{"code": "few-slices", "severity": "warning", "text": "2 slices: a core between them is not seen"}],
}  # fmt: skip


@pytest.fixture
def measured(case: Callable[..., CaseView]) -> CaseView:
    """A case of a measured series whose name and patient must not be seen."""
    view = case("ZZPLANTED", depth=7, size=40)
    return replace(view, result=RESULT, truth=None, scores=None, patient={"Name": "ZZPLANTED"}, simulated=True)


def words(case: CaseView) -> list[str]:
    return [text.get_text() for text in summary_figure(case).texts]


def test_the_summary_has_the_numbers_their_definitions_and_what_made_them(measured: CaseView) -> None:
    said = words(measured)
    assert "Core" in said and "10.0 ml" in said and "12.5 ml" in said
    assert "10.0 ml   (CBF below 30 % of the other side)" in said and "4.00" in said
    assert "- 2 slices: a core between them is not seen" in said
    assert "Research only, not a medical device. Simulated data, no patient." in said
    assert "clerigues" in said and "abababababab" in said


def test_the_summary_has_the_remarks_of_the_reader_without_the_name_of_the_case(measured: CaseView) -> None:
    noisy = "E-VAL-19: CBF is mostly noise: ZZPLANTED: cbf.nii.gz: correlation of 0.1"
    said = words(replace(measured, result=RESULT | {"remarks": [noisy]}))
    assert "- E-VAL-19: CBF is mostly noise: cbf.nii.gz: correlation of 0.1" in said


def test_no_name_stands_on_a_picture_or_in_the_pdf(measured: CaseView) -> None:
    assert not [text for text in words(measured) if "ZZPLANTED" in text]
    assert b"ZZPLANTED" not in pdf_bytes(measured)


def test_a_page_that_is_full_says_so(measured: CaseView) -> None:
    remark = {"code": "a", "severity": "info", "text": "a remark of some length that fills a line of the page " * 3}
    said = words(replace(measured, result=RESULT | {"quality": [remark] * 40}))
    assert "More on the page of the case." in said and len(said) < 140


def test_the_mosaic_names_the_colours_of_its_outlines(measured: CaseView, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("monai_isles.reports.captures.pixels", drawn.append)
    captures(replace(measured, masks={"core": measured.lesion > 0}))
    colours = {text.get_text(): text.get_color() for text in drawn[1].texts}
    assert colours == {label: colour for key, (label, colour) in MASKS.items() if key != "hypoperfused"}


def test_pictures_show_every_slice_and_the_pdf_has_a_page_for_five(measured: CaseView) -> None:
    made = captures(measured)
    assert set(made) == {"summary", "mosaic"}
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in made.values())
    assert made["summary"].shape[:2] == (1169, 827)  # A4 at 100 pixels an inch
    fewer = captures(replace(measured, **{k: v[..., :3] for k, v in measured.arrays().items() if k in _WHOLE}, images={
        key: image[..., :3] for key, image in measured.images.items()
    }))  # fmt: skip
    assert fewer["mosaic"].shape[0] < 0.6 * made["mosaic"].shape[0]
    pdf = pdf_bytes(measured)
    assert pdf.startswith(b"%PDF-") and pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 3
    assert pdf_bytes(measured) == pdf


_WHOLE = ("lesion", "probability", "uncertainty")
