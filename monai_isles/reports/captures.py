"""Render a case as plain pictures and as a PDF, for systems without HTML and masks: a summary and a mosaic."""

from __future__ import annotations

import io
import textwrap

import numpy as np
from matplotlib.figure import Figure

from monai_isles import __version__
from monai_isles.reports.canvas import blank, pixels
from monai_isles.reports.montage import case_montage
from monai_isles.reports.sheet import perfusion_table, perfusion_tiles
from monai_isles.reports.views import CaseView, even_indices

TITLES = {"summary": "Summary of CT perfusion, research only", "mosaic": "Maps and masks slice by slice, research only"}
MOST_SLICES, SLICES_A_PAGE = 16, 5
_A4_IN = (8.27, 11.69)
_LEFT, _WIDTH, _GAP = 0.08, 92, 0.012


def captures(case: CaseView) -> dict[str, np.ndarray]:
    """Return ``summary`` and ``mosaic``, (rows, columns, 3) uint8, without the name of the patient or of the case."""
    shown = even_indices(case.lesion.shape[2], MOST_SLICES)
    return {"summary": pixels(summary_figure(case)), "mosaic": pixels(case_montage(case, shown))}


def pdf_bytes(case: CaseView) -> bytes:
    """Return the report as a PDF: the summary on a page of A4, then the mosaic, five slices a page."""
    from matplotlib.backends.backend_pdf import PdfPages

    buffer, shown = io.BytesIO(), even_indices(case.lesion.shape[2], MOST_SLICES)
    parts = [shown[n : n + SLICES_A_PAGE] for n in range(0, len(shown), SLICES_A_PAGE)]
    about = {"Title": TITLES["summary"], "Creator": f"monai_isles {__version__}", "CreationDate": None}
    with PdfPages(buffer, metadata=about) as pages:
        for figure in [summary_figure(case), *(case_montage(case, part) for part in parts)]:
            pages.savefig(figure, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def summary_figure(case: CaseView) -> Figure:
    """Return a page of A4 with the numbers, their definitions, the remarks and the software."""
    figure = blank(*_A4_IN, face="white")
    lines = _Lines(figure)
    lines.add("CT perfusion: ischemic core and hypoperfusion", size=15)
    simulated = " Simulated data, no patient." if case.simulated else ""
    lines.add(f"Research only, not a medical device.{simulated}", colour="#b00020")
    lines.y -= _GAP
    for label, text in perfusion_tiles(case.result).items():
        lines.add(text, label=label)
    why = (case.result.get("perfusion") or {}).get("not_computed")
    if why:
        lines.add(f"No volumes of thresholds: {why}")
    if rows := perfusion_table(case.result):
        lines.head("Definitions")
        for label, text, meaning in rows:
            lines.add(f"{text}   ({meaning})", label=label)
    if remarks := [str(item["text"]) for item in case.result.get("quality") or ()]:
        lines.head("Remarks")
        for remark in remarks:
            lines.add(f"- {remark}")
    lines.head("Made by")
    result = case.result
    sha = ", ".join(str(item)[:12] for item in result.get("weights_sha256") or ())
    made = {"software": f"monai_isles {__version__}", "bundle": result.get("bundle"), "weights": sha}
    made |= {"probability threshold": result.get("threshold"), **case.series}
    for label, text in ((label, text) for label, text in made.items() if text not in (None, "")):
        lines.add(str(text), label=label)
    return figure


class _Lines:
    """Write lines below each other on a page; the last one says where to find those that do not fit."""

    def __init__(self, figure: Figure) -> None:
        self.figure, self.y, self.full = figure, 0.96, False

    def add(self, text: str, *, label: str = "", size: float = 9, colour: str = "black") -> None:
        """Write one paragraph, wrapped, beside its label; a larger one is bold."""
        x = 0.36 if label else _LEFT
        wrapped = textwrap.wrap(text, int(_WIDTH * 9 / size * (1 - x) / (1 - _LEFT))) or [""]
        step = 1.45 * size / 72 / _A4_IN[1]
        if self.y - step * len(wrapped) < 0.05:
            if not self.full:
                self.figure.text(_LEFT, 0.035, "More on the page of the case.", fontsize=8)
            self.full = True
            return
        first = self.y - step
        for line in wrapped:
            self.y -= step
            look = "bold" if size > 9 else "normal"
            self.figure.text(x, self.y, line.replace("$", r"\$"), fontsize=size, fontweight=look, color=colour)
        if label:
            self.figure.text(_LEFT, first, label[:40], fontsize=9, color="#444444")

    def head(self, text: str) -> None:
        """Write a heading."""
        self.y -= _GAP
        self.add(text, size=11)
