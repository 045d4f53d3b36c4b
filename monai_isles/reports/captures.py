"""Render a case as plain pictures and as a PDF, for systems without HTML and masks: a summary and a mosaic."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from monai_isles import __version__
from monai_isles.reports.canvas import blank, pixels
from monai_isles.reports.montage import case_montage
from monai_isles.reports.sheet import perfusion_table, perfusion_tiles
from monai_isles.reports.viewer import outline_masks
from monai_isles.reports.views import MASKS, CaseView, even_indices

TITLES = {"summary": "Summary of CT perfusion, research only", "mosaic": "Maps and masks slice by slice, research only"}
MOST_SLICES, SLICES_A_PAGE = 16, 5
_A4_IN = (8.27, 11.69)
_LEFT, _WIDTH, _GAP = 0.08, 92, 0.012


def captures(case: CaseView) -> dict[str, np.ndarray]:
    """Return ``summary`` and ``mosaic``, (rows, columns, 3) uint8, without the name of the patient or of the case."""
    shown = even_indices(case.lesion.shape[2], MOST_SLICES)
    return {"summary": pixels(summary_figure(case)), "mosaic": pixels(_mosaic(case, shown))}


def pdf_bytes(case: CaseView) -> bytes:
    """Return the report as a PDF: the summary on a page of A4, then the mosaic, five slices a page."""
    from matplotlib.backends.backend_pdf import PdfPages

    buffer, shown = io.BytesIO(), even_indices(case.lesion.shape[2], MOST_SLICES)
    parts = [shown[n : n + SLICES_A_PAGE] for n in range(0, len(shown), SLICES_A_PAGE)]
    about = {"Title": TITLES["summary"], "Creator": f"monai_isles {__version__}", "CreationDate": None}
    with PdfPages(buffer, metadata=about) as pages:
        for figure in [summary_figure(case), *(_mosaic(case, part) for part in parts)]:
            pages.savefig(figure, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def _mosaic(case: CaseView, slices: Sequence[int]) -> Figure:
    """Return the slices; the colours of the outlines are named below the last column, which has no scale."""
    figure = case_montage(case, slices)
    for n, (label, colour) in enumerate(MASKS[name] for name in outline_masks(case)):
        figure.text(0.998, (3 + 8 * n) / 72 / figure.get_figheight(), label, color=colour, fontsize=7, ha="right")
    return figure


class _Line(NamedTuple):
    text: str
    label: str = ""
    size: float = 9
    colour: str = "black"


def summary_figure(case: CaseView) -> Figure:
    """Return a page of A4 with the numbers, their definitions, the remarks and the software."""
    figure, y, full = blank(*_A4_IN, face="white"), 0.96, False
    for line in _lines(case):
        if not line.text:
            y -= _GAP
            continue
        x, bold = (0.36 if line.label else _LEFT), "bold" if line.size > 9 else "normal"
        wrapped = textwrap.wrap(line.text, int(_WIDTH * 9 / line.size * (1 - x) / (1 - _LEFT)))
        step = 1.45 * line.size / 72 / _A4_IN[1]
        if y - step * len(wrapped) < 0.05:
            full = True
            continue
        if line.label:
            figure.text(_LEFT, y - step, line.label[:40], fontsize=9, color="#444444")
        for part in wrapped:
            y -= step
            look: dict[str, Any] = {"fontsize": line.size, "fontweight": bold, "color": line.colour}
            figure.text(x, y, part.replace("$", r"\$"), **look)
    if full:
        figure.text(_LEFT, 0.035, "More on the page of the case.", fontsize=8)
    return figure


def _lines(case: CaseView) -> Iterator[_Line]:
    """Yield the paragraphs of the summary; one without text is a gap."""
    gap, result = _Line(""), case.result
    yield _Line("CT perfusion: ischemic core and hypoperfusion", size=15)
    simulated = " Simulated data, no patient." if case.simulated else ""
    yield from (_Line(f"Research only, not a medical device.{simulated}", colour="#b00020"), gap)
    yield from (_Line(text, label) for label, text in perfusion_tiles(result).items())
    if why := (result.get("perfusion") or {}).get("not_computed"):
        yield _Line(f"No volumes of thresholds: {why}")
    if rows := perfusion_table(result):
        yield from (gap, _Line("Definitions", size=11))
        yield from (_Line(f"{text}   ({meaning})", label) for label, text, meaning in rows)
    remarks = [str(line).replace(f"{case.name}: ", "") for line in result.get("remarks") or ()]
    if remarks := [*remarks, *(str(item["text"]) for item in result.get("quality") or ())]:
        yield from (gap, _Line("Remarks", size=11))
        yield from (_Line(f"- {remark}") for remark in remarks)
    yield from (gap, _Line("Made by", size=11))
    sha = ", ".join(str(item)[:12] for item in result.get("weights_sha256") or ())
    made = {"software": f"monai_isles {__version__}", "bundle": result.get("bundle"), "weights": sha}
    made |= {"probability threshold": result.get("threshold"), **case.series}
    yield from (_Line(str(text), label) for label, text in made.items() if text not in (None, ""))
