"""Turn one case into the content of a page: names, numbers with units, small pictures; no arrays."""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from monai_isles.metrics.overlap import dsc, emptiness
from monai_isles.metrics.volume import volume_ml
from monai_isles.reports.canvas import MAX_BYTES, data_uri, png_bytes
from monai_isles.reports.curves import stage_curves, stage_text
from monai_isles.reports.figures import number
from monai_isles.reports.montage import case_montage, mirrored_montage, panels
from monai_isles.reports.views import CaseView, even_indices

_NONE = "–"
STUDY_SLICES = 16
_PAGE_BYTES, _BESIDE_MOSAICS_BYTES, _PANEL_BYTES, _MOST_BYTES = 1_500_000, 1_100_000, 16_000, 140_000
WORDS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))


def sheet_of(case: CaseView, *, most_slices: int, anchor: str = "case", mirrored: bool = True) -> SimpleNamespace:
    """Turn the arrays of a case into numbers and pictures for the templates, without the paths of the prediction.

    ``numbers`` hold (value to sort by, text), ``mirrored`` and ``mirror`` show the images in the head's mirror and how
    it was found, ``stage`` is the curve of the series with the perfusion stage that the network was given. Drawn are up
    to ``most_slices`` around the lesion, of a measured series up to 16 of all.
    """
    numbers, result, drawn, stage = _numbers(case), case.result, None, None
    read = result.get("modalities") or case.images
    if mirrored and result.get("registration") and set(case.images) & set(read):  # with a series alone no image was
        (k,) = case.chosen_slices(1)
        alt = f"{case.name}, slice {k + 1} of {case.lesion.shape[2]}: images above, the same mirrored below"
        png = png_bytes(mirrored_montage(case, k), max_bytes=_MOST_BYTES)
        drawn = picture(png, alt, 125 * len(case.images))
    if found := result.get("perfusion_stage"):
        png = png_bytes(stage_curves([("summed intensity of the series", found)]), max_bytes=_MOST_BYTES)
        stage = picture(png, stage_text(found), 320)
    if case.truth is None:
        flag = "" if case.lesion.any() else "no lesion predicted"
    else:
        flag = WORDS["flags"].get(emptiness(case.lesion, case.truth), "")
    unmeasured = case.uncertainty is None and case.probability is not None
    notes, by_ct = {"unmeasured": unmeasured, "synthetic": bool(case.synthetic)}, {"ct", "ctp"} & {*case.images, *read}
    return SimpleNamespace(
        name=case.name,
        anchor=anchor,
        subject=str((case.scores or {}).get("subject") or result.get("subject") or ""),
        reference_ml=None if case.truth is None else numbers["reference"][0],
        numbers=numbers,
        tiles=_tiles(case, numbers),
        facts=_facts(result),
        flag=flag,
        pictures=_pictures(case, most_slices),
        target=WORDS["targets"].get(str(result.get("target")), "ischemic core" if by_ct else "lesion"),
        notes=[WORDS["notes"][name] for name, holds in notes.items() if holds],
        mirrored=drawn,
        stage=stage,
        mirror=_mirror_text(result["registration"]) if result.get("registration") else "",
        remarks=[str(remark) for remark in result.get("remarks") or ()],
    )


def _numbers(case: CaseView) -> dict[str, tuple[float, str]]:
    scores, none = case.scores or {}, float("nan")
    predicted = volume_ml(case.lesion.astype(bool), case.spacing_mm)
    reference = none if case.truth is None else volume_ml(case.truth.astype(bool), case.spacing_mm)
    dice = number(scores.get("dsc"))
    if case.truth is not None and np.isnan(dice):
        dice = dsc(case.lesion.astype(bool), case.truth.astype(bool))
    values = {
        "reference": (reference, ".1f"),
        "predicted": (predicted, ".1f"),
        "difference": (predicted - reference, "+.1f"),
        "dice": (dice, ".3f"),
        "ppv": (number(scores.get("ppv")), ".3f"),
        "sensitivity": (number(scores.get("sensitivity")), ".3f"),
        "hd95": (number(scores.get("hd95_mm")), ".1f"),
    }
    return {key: (value, _number(value, form)) for key, (value, form) in values.items()}


def _number(value: float, form: str) -> str:
    if np.isnan(value):
        return _NONE
    text = format(value, form)
    return text if float(text) else text.replace("-", "").replace("+", "")


def _tiles(case: CaseView, numbers: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    if case.masks:
        return perfusion_tiles(case.result)
    volumes = ["predicted"] if case.truth is None else ["reference", "predicted", "difference"]
    tiles = {key.capitalize(): f"{numbers[key][1]} ml" for key in volumes}
    if case.truth is not None:
        tiles["Dice"] = numbers["dice"][1]
    for key, label, unit in (("ppv", "PPV", ""), ("sensitivity", "Sensitivity", ""), ("hd95", "HD95", " mm")):
        if numbers[key][1] != _NONE:
            tiles[label] = numbers[key][1] + unit
    if case.truth is None and case.probability is not None:
        tiles["Highest probability"] = f"{float(case.probability.max()):.2f}"
    return tiles | {label: text for label, text in perfusion_tiles(case.result).items() if label != "Predicted lesion"}


def _facts(result: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        label: fact_text(result[key]) for key, label in WORDS["facts"].items() if result.get(key) not in (None, [], "")
    }
    if result.get("modalities"):
        facts["modalities"] = ", ".join(result["modalities"])
    if result.get("inputs"):
        facts["inputs"] = ", ".join(f"{group} {options}" for group, options in result["inputs"].items())
    return facts


def fact_text(value: Any) -> str:
    """Return a setting of ``result.json`` as the pages state it."""
    if isinstance(value, (list, tuple)):
        return (", " if isinstance(value[0], str) else " × ").join(map(fact_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _mirror_text(found: Mapping[str, Any]) -> str:
    tilt = f"tilt {found['angle_deg']:.1f}°" + (f", roll {found['roll_deg']:.1f}°" if found.get("roll_deg") else "")
    similarity = found.get("similarity")
    fit = "" if similarity is None else f"; correlation of the two sides {similarity:.2f}"
    made = WORDS["mirror"].get(str(found["method"]), str(found["method"]))
    side = "right" if found["offset_mm"] >= 0 else "left"
    return f"Mirror: {made}; {tilt}, midline {abs(found['offset_mm']):.1f} mm {side} of the image's middle{fit}."


def picture(png: bytes, alt: str, narrowest: int) -> SimpleNamespace:
    """Return a PNG as the templates show it, with its size in pixels, at least ``narrowest`` pixels wide."""
    width, height = struct.unpack(">II", png[16:24])
    return SimpleNamespace(src=data_uri(png), alt=alt, width=width, height=height, narrowest=narrowest)


def _pictures(case: CaseView, most: int) -> list[SimpleNamespace]:
    if case.masks:
        slices, page_bytes = even_indices(case.lesion.shape[2], STUDY_SLICES), _BESIDE_MOSAICS_BYTES
    else:
        slices = case.shown_slices(most)
        page_bytes = _PAGE_BYTES
    columns = panels(case)
    count = len(columns) + 1
    allowed = min(max(MAX_BYTES, _PANEL_BYTES * count), _MOST_BYTES, page_bytes // len(slices))
    pictures = []
    for row, k in enumerate(slices):
        ends = {"headings": row == 0, "bars": row == len(slices) - 1}
        png = png_bytes(case_montage(case, [k], columns=columns, **ends), max_bytes=allowed)
        alt = f"{case.name}, slice {k + 1} of {case.lesion.shape[2]}"
        pictures.append(picture(png, alt, max(760, 125 * count)))
    return pictures


_TILES = ("Core", "Hypoperfused", "Mismatch", "Mismatch ratio", "DEFUSE-3 profile", "DAWN profile")


def perfusion_tiles(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the volumes that a reader looks for first."""
    shown: dict[str, str] = {}
    if result.get("lesion_ml") is not None:
        shown["Predicted lesion"] = f"{result['lesion_ml']:.1f} ml"
        if result.get("lesion_ml_interval"):
            low, high = result["lesion_ml_interval"]
            shown["Lesion, 90 % interval"] = f"{low:.1f}–{high:.1f} ml"
        chances = [item["confidence"] for item in result.get("lesions") or () if item.get("confidence") is not None]
        if chances:
            shown["Confidence by lesion"] = ", ".join(f"{chance:.0%}" for chance in chances[:4])
    rows = {label.replace(" target", ""): text for label, text, _ in perfusion_table(result)}
    return shown | {label: rows[label] for label in _TILES if label in rows}


def perfusion_table(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the perfusion table: what, value, how it is defined."""
    p = result.get("perfusion") or {}
    if "core_ml" not in p:
        return []
    core, late = 100 * float(p.get("core_rcbf", 0.30)), float(p.get("delay_s", 6.0))
    least, ratio = p.get("min_cluster_ml"), p.get("mismatch_ratio")
    ratio = "no core" if ratio is None else f"{float(ratio):.2f}"
    left_out = f"; clusters below {float(least):g} ml left out" if least else ""
    rows = [("Core", _ml(p.get("core_ml")), f"CBF below {core:g} % of the other side{left_out}")]
    outside = float(p.get("core_outside_ml") or 0.0)
    if outside >= float(least or 0.5):
        why = f"Tmax not above {late:g} s there: often an old infarct; it counts against the mismatch"
        rows.append(("Core without delay", _ml(outside), why))
    rows += [
        ("Hypoperfused", _ml(p.get("hypoperfused_ml")), f"Tmax above {late:g} s{left_out}"),
        ("Penumbra", _ml(p.get("penumbra_ml")), "hypoperfused and not core"),
        ("Mismatch", _ml(p.get("mismatch_ml")), "hypoperfused volume minus core volume"),
        ("Mismatch ratio", ratio, "hypoperfused volume over core volume"),
    ]
    if "defuse3" in p:
        rule = "core below 70 ml, ratio of 1.8 or more, mismatch of 15 ml or more"
        rows.append(("DEFUSE-3 target profile", "met" if p["defuse3"] else "not met", rule))
    if "dawn" in p:
        rule = "by age and NIHSS, not kept here: from 80 years on, NIHSS of 10 or more and core below 21 ml; younger, "
        rule += "NIHSS of 10 or more and core below 31 ml, or NIHSS of 20 or more and core below 51 ml"
        rows.append(("DAWN profile", "met" if p["dawn"] else "not met", rule))
    for delay, volume in (p.get("tmax_ml") or {}).items():
        rows.append((f"Tmax > {delay} s", _ml(volume), f"brain with Tmax above {delay} s{left_out}"))
    for part, volume in (p.get("rcbf_ml") or {}).items():
        rows.append((f"CBF < {part} %", _ml(volume), f"of the mean of the other side{left_out}"))
    if "hir" in p:
        text = "no tissue with Tmax above 6 s" if p["hir"] is None else f"{p['hir']:.2f}"
        rows.append(("Hypoperfusion intensity ratio", text, "volume with Tmax above 10 s over that above 6 s"))
    if p.get("cbv_index") is not None:
        rows.append(
            ("CBV index", f"{p['cbv_index']:.2f}", "mean CBV where Tmax is above 6 s over that of the other side")
        )
    if p.get("side"):
        rows.append(("Affected side", str(p["side"]), "with more hypoperfused tissue"))
    return rows


def _ml(value: Any) -> str:
    return "–" if value is None else f"{float(value):.1f} ml"
