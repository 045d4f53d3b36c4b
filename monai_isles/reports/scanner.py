"""Write the page of a series from the scanner: slices to scroll, contours, volumes, curves, remarks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup

from monai_isles import __version__
from monai_isles.io.publish import publish_text
from monai_isles.io.runs import versions
from monai_isles.reports.canvas import svg_text
from monai_isles.reports.page import environment
from monai_isles.reports.scanner_curves import vessel_curves
from monai_isles.reports.scanner_facts import facts, table, tiles
from monai_isles.reports.scanner_slices import page_data
from monai_isles.reports.scanner_view import MASKS, ScannerView

_SOFTWARE = ("python", "monai", "torch", "numpy")


def scanner_page(view: ScannerView, out: str | Path) -> None:
    """Write one file that needs no network: slices to scroll, windows, outlines, volumes, curves, what made it.

    No name, number or date of a person stands in it unless ``view.patient`` holds them.

    Raises: IslesError: ``E-FILE-10`` when the page cannot be written.
    Source: ours; ``tests/reports/test_scanner_page.py`` (opens it in headless Chromium).
    """
    publish_text(out, environment().get_template("scanner.html").render(_facts(view)))


def _facts(view: ScannerView) -> dict[str, Any]:
    quality = [SimpleNamespace(**flag) for flag in view.result.get("quality") or []]
    known = versions()
    software = {"monai_isles": __version__, **{name: known[name] for name in _SOFTWARE if name in known}}
    return {
        "title": view.name,
        "simulated": view.simulated,
        "data": page_data(view),
        "masks": [SimpleNamespace(name=n, label=MASKS[n][0], colour=MASKS[n][1]) for n in MASKS if n in view.masks],
        "tiles": tiles(view.result),
        "table": table(view.result),
        "quality": sorted(quality, key=lambda flag: flag.severity != "warning"),
        "curves": _curves(view),
        "series": dict(view.series),
        "patient": dict(view.patient),
        "facts": facts(view.result),
        "software": ", ".join(f"{name} {number}" for name, number in software.items()),
    }


def _curves(view: ScannerView) -> Markup | None:
    if view.aif is None or view.dt_s is None:
        return None
    label = "Arterial and venous curves, HU over baseline against seconds"
    return Markup(svg_text(vessel_curves(view.aif, view.vof, view.dt_s), label))
