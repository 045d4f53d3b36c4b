"""Numbers and remarks of the scanner page, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
