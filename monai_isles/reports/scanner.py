"""Write the page of a series from the scanner: slices to scroll, contours, volumes, curves, remarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from monai_isles import __version__
from monai_isles.io.publish import publish_text
from monai_isles.io.runs import versions
from monai_isles.reports.canvas import INK, blank, plot_axes, svg_text
from monai_isles.reports.page import environment
from monai_isles.reports.scanner_slices import MASKS, ScannerView, page_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ARTERY, _VEIN = "#d8323c", "#3277d8"


def vessel_curves(aif_hu: np.ndarray, vof_hu: np.ndarray | None, dt_s: float) -> Figure:
    """Return the arterial and, where there is one, the venous curve over time.

    Shapes: (T,).  Units: HU over baseline, s.
    """
    figure = blank(6.4, 2.6)
    (place,) = plot_axes(figure, 1, 1)
    for curve, colour, label, dash in (
        (aif_hu, _ARTERY, "artery (AIF)", "-"),
        (vof_hu, _VEIN, "vein (VOF)", (0, (5, 1.5))),
    ):
        if curve is not None:
            time = np.arange(len(curve)) * dt_s
            place.plot(time, curve, color=colour, linewidth=2, linestyle=dash, label=label)
    place.legend(frameon=False, fontsize=9, labelcolor=INK)
    place.set_xlabel("s", color=INK, fontsize=9)
    place.set_ylabel("HU over baseline", color=INK, fontsize=9)
    figure.tight_layout(pad=0.6)
    return figure


_SHOWN = {
    "bundle": "bundle",
    "weights_sha256": "weights SHA-256",
    "threshold": "probability threshold",
    "min_size_vox": "smallest lesion kept, voxels",
    "spacing_mm": "voxel size, mm",
    "seconds": "time, s",
}


def tiles(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the volumes that a reader looks for first."""
    shown: dict[str, str] = {}
    if result.get("lesion_ml") is not None:
        shown["Network lesion"] = f"{result['lesion_ml']:.1f} ml"
        if result.get("lesion_ml_interval"):
            low, high = result["lesion_ml_interval"]
            shown["Lesion interval"] = f"{low:.1f}–{high:.1f} ml"
    perfusion = result.get("perfusion") or {}
    for key, label in (("core_ml", "Core"), ("hypoperfused_ml", "Hypoperfused"), ("mismatch_ml", "Mismatch")):
        if perfusion.get(key) is not None:
            shown[label] = f"{perfusion[key]:.1f} ml"
    if "mismatch_ratio" in perfusion:
        shown["Mismatch ratio"] = ratio(perfusion)
    if "defuse3" in perfusion:
        shown["DEFUSE-3 profile"] = "met" if perfusion["defuse3"] else "not met"
    return shown


def table(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the perfusion table: what, value, how it is defined."""
    p = result.get("perfusion") or {}
    if "core_ml" not in p:
        return []
    core, late = 100 * float(p.get("core_rcbf", 0.30)), float(p.get("delay_s", 6.0))
    rows = [
        ("Core", _ml(p.get("core_ml")), f"CBF below {core:.0f} % of the other side"),
        ("Hypoperfused", _ml(p.get("hypoperfused_ml")), f"Tmax above {late:g} s"),
        ("Penumbra", _ml(p.get("penumbra_ml")), "hypoperfused and not core"),
        ("Mismatch", _ml(p.get("mismatch_ml")), "hypoperfused volume less core volume"),
        ("Mismatch ratio", ratio(p), "hypoperfused volume by core volume"),
    ]
    if "defuse3" in p:
        rule = "core below 70 ml, ratio of 1.8 or more, mismatch of 15 ml or more"
        rows.append(("DEFUSE-3 target profile", "met" if p["defuse3"] else "not met", rule))
    for delay, volume in (p.get("tmax_ml") or {}).items():
        rows.append((f"Tmax > {delay} s", _ml(volume), "clusters too small left out"))
    return rows


def facts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return what made the result, label to text; paths stay out."""
    return {label: _text(result[key]) for key, label in _SHOWN.items() if result.get(key) not in (None, [])}


def ratio(perfusion: Mapping[str, Any]) -> str:
    """Return the mismatch ratio; without a core it is no number."""
    value = perfusion.get("mismatch_ratio")
    return "no core" if value is None else f"{float(value):.2f}"


def _ml(value: Any) -> str:
    return "–" if value is None else f"{float(value):.1f} ml"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " × ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
