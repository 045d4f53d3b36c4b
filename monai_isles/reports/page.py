"""Write self-contained HTML pages: one case, or a cohort with its methods side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from monai_isles import __version__
from monai_isles.data.study import is_simulated
from monai_isles.errors import IslesError
from monai_isles.io.case_images import read_case_images
from monai_isles.io.publish import publish_text
from monai_isles.io.read import read_image
from monai_isles.io.runs import versions
from monai_isles.modalities import LABEL
from monai_isles.reports import canvas as palette
from monai_isles.reports.canvas import png_bytes, svg_text
from monai_isles.reports.curves import best_epoch, motion_curves, training_curves, vessel_curves, vessel_places
from monai_isles.reports.figures import bland_altman_plot, dice_plot, reliability_plot, volume_scatter
from monai_isles.reports.montage import drawn_keys, map_mosaic, panels
from monai_isles.reports.sheet import WORDS, perfusion_table, picture, sheet_of
from monai_isles.reports.tables import page_table
from monai_isles.reports.viewer import niivue_facts, outline_masks, page_data
from monai_isles.reports.views import MASKS, SYNTHETIC, CaseView
from monai_isles.transforms.grid import onto_first

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

    from monai_isles.reports.gather import Cohort

_SOFTWARE = ("monai_isles", "python", "monai", "torch", "numpy")


def case_page(case: CaseView, out: str | Path, *, viewer: str = "small") -> None:
    """Write the page of one case: volumes, slices with the prediction, how it was made; no network needed.

    Up to six slices, 14 of a volume deeper than 32; about 2 MB at most. A case with ``masks`` (a measured series) has
    a viewer to scroll through its slices, a mosaic of up to 48 of every image, and up to 16 of them below each other;
    about 4 MB. ``viewer`` ``niivue`` adds NiiVue with three planes, below 8 MB for 16 slices.

    The reference is drawn and scored where the case has one. Paths of the input never appear; no name, number or date
    of a person stands in it unless ``case.patient`` holds them.
    """
    facts = _case_facts(case) | {"niivue": niivue_facts(case) if viewer == "niivue" and case.images else None}
    publish_text(out, environment().get_template("case.html").render(facts))


def _case_facts(case: CaseView) -> dict[str, Any]:
    known, record = versions(), case.record
    vessels = places = motion = None
    if record:
        label = "Arterial and venous curves, HU over baseline against seconds"
        vessels = Markup(svg_text(vessel_curves(record["aif_hu"], record["vof_hu"], record["dt_s"]), label))
    if record.get("aif_vox"):
        alt = f"{case.name}: CT slices with the voxels of the arterial and venous curve"
        places = picture(png_bytes(vessel_places(case)), alt, 300)
    if path := record.get("motion", {}).get("path_right_mm_front_mm_turn_deg"):
        motion = Markup(svg_text(motion_curves(np.array(path), record["dt_s"]), "Movement of the head over time"))
    mosaics = {}
    for panel in panels(case) if case.masks else ():
        title = panel.title.partition("\n")[0]
        png = png_bytes(map_mosaic(case, panel))
        mosaics[title] = picture(png, f"{case.name}, {title}, slices", 760)
    return {
        "title": case.name,
        "simulated": case.simulated,
        "case": sheet_of(case, most_slices=6),
        "data": page_data(case) if case.masks else None,
        "masks": [{"name": n, "label": MASKS[n][0], "colour": MASKS[n][1]} for n in outline_masks(case)],
        "table": perfusion_table(case.result),
        "quality": sorted(case.result.get("quality") or [], key=lambda flag: flag["severity"] != "warning"),
        "curves": vessels,
        "places": places,
        "motion": motion,
        "mosaics": mosaics,
        "series": dict(case.series),
        "patient": dict(case.patient),
        "software": ", ".join(f"{name} {known[name]}" for name in _SOFTWARE if name in known),
    }


def cohort_page(cohort: Cohort, out: str | Path) -> None:
    """Write the page of a cohort: methods side by side, figures, every case with its slices, provenance."""
    sheets = [
        sheet_of(case, anchor=f"case-{index}", most_slices=4, mirrored=cohort.mirrored)
        for index, case in enumerate(cohort.cases, start=1)
    ]
    curves = None
    if cohort.curves:
        best = best_epoch(cohort.curves)
        kept = "" if best is None else f" Dotted: epoch {best}, the best by the early-stop metric, else by Dice."
        caption = f"Training and validation over {len(cohort.curves)} epochs.{kept}"
        curves = plot(training_curves(cohort.curves), "Training curves", caption)
    facts = {
        **vars(cohort),
        "cases": sheets,
        "notes": list(dict.fromkeys(note for sheet in sheets for note in sheet.notes)),
        "subjects": len({sheet.subject or sheet.name for sheet in sheets}),
        "shown": next(iter(cohort.summaries)),
        "table": page_table(cohort.summaries, cohort.published),
        "plots": _plots(cohort),
        "curves": curves,
        "provenance": {"monai_isles": __version__, **cohort.provenance},
    }
    publish_text(out, environment().get_template("cohort.html").render(facts))


@cache
def environment() -> Environment:
    """Return the template environment; outside Markdown every text is escaped that no function of this package made."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, autoescape=lambda name: not str(name).endswith(".md"),
    )  # fmt: skip
    made.globals |= {"version": __version__, "colours": SimpleNamespace(**vars(palette))}
    return made


def _plots(cohort: Cohort) -> list[SimpleNamespace]:
    figures: dict[str, Figure] = {}
    if any(cohort.per_case.values()):
        figures["Dice by method"] = dice_plot(cohort.per_case)
        figures["Predicted against reference lesion volume"] = volume_scatter(cohort.per_case)
        figures["Bland-Altman plot of lesion volumes"] = bland_altman_plot(cohort.per_case)
    curves = {name: row["calibration"]["curve"] for name, row in cohort.summaries.items() if row.get("calibration")}
    if curves:
        figures["Reliability of the probability"] = reliability_plot(curves)
    return [plot(figure, label, WORDS["captions"][label]) for label, figure in figures.items()]


def plot(figure: Figure, label: str, caption: str) -> SimpleNamespace:
    """Return a figure as the templates show it, with its caption and a label for screen readers."""
    return SimpleNamespace(svg=Markup(svg_text(figure, label)), caption=caption)


def publish_case_page(
    entry: Mapping[str, object], maps: Mapping[str, Any], result: Mapping[str, object], path: Path
) -> None:
    """Write ``report.html`` of a case without reference: its images (of a series alone its first frame) and maps.

    Images that the bundle did not read are left out if they cannot be read, or lie on another grid than
    ``lesion.nii.gz`` beside the page.

    Shapes: ``maps`` holds ``probability``, ``lesion``, and ``uncertainty`` and a network's own images (``SYNTHETIC``)
    where there are some, as (1, H, W, D).
    """
    files = {key: str(entry[key]) for key in drawn_keys(list(entry))}
    try:
        images = read_case_images(files, case=str(entry["case"]))
    except IslesError:
        own: Any = result["modalities"]
        images = read_case_images({key: files[key] for key in files if key in own}, case=str(entry["case"]))
    if not images:
        series = read_image(str(entry["ctp"]), kind="ctp")
        images = {"ct": replace(series, data=series.data[0])}
    like = read_image(path.with_name("lesion.nii.gz"))
    if entry.get("resample") is True:
        images = onto_first({LABEL: like, **images}, case=str(entry["case"]))
    images = {key: image for key, image in images.items() if key != LABEL and image.on_grid_of(like)}
    shown = ("probability", "uncertainty", "lesion", *SYNTHETIC)
    arrays = {key: image.data for key, image in images.items()}
    arrays |= {key: np.asarray(maps[key][0]) for key in shown if key in maps}
    simulated = any(is_simulated(image.path) for image in images.values())
    case_page(CaseView.of(str(entry["case"]), arrays, like, result=result, simulated=simulated), path)
