"""Measure the perfusion maps against truth: simulated scans, curves, tiles of a digital phantom, OSIPI curves.

``python docs/make/perfusion_truth.py --cases 6`` writes ``docs/tables/perfusion_*.csv``, ``perfusion_truth.md`` there
and ``docs/figures/perfusion_truth.png``. The OSIPI rows need ``OSIPI_DSC``, the path of dsc_data.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from perfusion_curves import curve_rows, osipi_rows, tile_rows
from true_perfusion import TruePerfusion, case_with_truth

from monai_isles.io.publish import publish, publish_text
from monai_isles.perfusion import PerfusionMaps, measured_maps
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.reports.canvas import blank, png_bytes
from monai_isles.reports.montage import letter_sides
from monai_isles.reports.views import on_screen

Row = Mapping[str, object]
WAYS = ("learned", "bayes", "bcsvd", "osvd", "tikhonov")
_SHOWN = ("learned", "bcsvd")
_BANDS = ((0.0, 3.5), (3.5, 5.0), (5.0, 8.0), (8.0, 45.0))


def case_maps(case: CaseArrays) -> dict[str, PerfusionMaps]:
    """Return the maps of one scan by every method, and by the conventional one with one correction left out."""
    space = {"spacing_mm": case.spacing_mm, "dt_s": case.dt_s}
    prepared, still = prepare_series(case.ctp, **space), prepare_series(case.ctp, **space, motion=False)
    return {
        **{method: measured_maps(prepared, method=method) for method in WAYS},
        "bcsvd, no scaling": measured_maps(prepared, method="bcsvd", venous_scaling=False),
        "bcsvd, no motion correction": measured_maps(still, method="bcsvd"),
    }


def case_rows(name: str, maps: Mapping[str, PerfusionMaps], true: TruePerfusion) -> list[Row]:
    """Return one row a way: ratios of medians, correlations, response to delay, on brain without vessels."""
    rows = []
    for way, found in maps.items():
        brain = (found.cbf > 0) & (true.matter > 0.9) & (true.artery + true.vein < 0.01)
        row: dict[str, object] = {"case": name, "way": way, "voxels": int(brain.sum())}
        row["aif_area_ratio"] = round(float(found.aif.sum() / true.blood_hu.sum()), 3)
        for key in ("cbf", "cbv", "mtt"):
            a, b = getattr(found, key)[brain], getattr(true, key)[brain]
            row[f"{key}_ratio"] = round(float(np.median(a) / np.median(b)), 3)
            row[f"{key}_r"] = round(float(np.corrcoef(a, b)[0, 1]), 3)
        late = brain & (true.mtt < 8.0)
        slope, offset = np.polyfit(true.delay[late], found.tmax[late], 1)
        row |= {"tmax_slope": round(float(slope), 3), "tmax_at_0s": round(float(offset), 2)}
        row["tmax_r"] = round(float(np.corrcoef(found.tmax[brain], true.delay[brain])[0, 1]), 3)
        share = found.cbf[brain] / true.cbf[brain].clip(1.0) * row["aif_area_ratio"]
        for low, high in _BANDS:
            band = (true.mtt[brain] >= low) & (true.mtt[brain] < high)
            row[f"cbf_x_area_mtt_{low:g}_{high:g}"] = (
                round(float(np.median(share[band])), 3) if band.sum() > 50 else None
            )
        rows.append(row)
    return rows


def summary(rows: Sequence[Row], by: Sequence[str], keys: Sequence[str]) -> list[Row]:
    """Return the medians of ``keys`` over the rows that agree in ``by``, in the order of appearance."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    out = []
    for group, members in groups.items():
        values = {key: [float(m[key]) for m in members if m[key] is not None] for key in keys}
        found = {key: round(float(np.median(v)), 3) if v else None for key, v in values.items()}
        out.append(dict(zip(by, group, strict=True)) | found)
    return out


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    head = list(rows[0])
    body = ["| " + " | ".join("" if row[key] is None else str(row[key]) for key in head) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body]) + "\n"


def picture(case: CaseArrays, maps: Mapping[str, PerfusionMaps], true: TruePerfusion, name: str) -> bytes:
    """Return a PNG: truth, the default maps and the conventional ones, one row each, on the slice with most lesion.

    Displayed radiologically, as every picture of the package.
    """
    level = int(case.label.sum((0, 1)).argmax())
    brain = maps[_SHOWN[0]].brain
    rows, columns = (np.flatnonzero(brain[:, :, level].any(axis)) for axis in (1, 0))
    box = (slice(rows[0] - 6, rows[-1] + 7), slice(columns[0] - 6, columns[-1] + 7))
    scales = (
        ("cbf", 80.0, "CBF, ml/100 g/min"),
        ("cbv", 7.0, "CBV, ml/100 g"),
        ("mtt", 14.0, "MTT, s"),
        ("tmax", 12.0, "Tmax, s"),
    )
    figure = blank(11.0, 9.6, face="white", dpi=80)
    shown = (("truth", true), *((way, maps[way]) for way in _SHOWN))
    grid = figure.subplots(len(shown), len(scales))
    for line, (title, source) in zip(grid, shown, strict=True):
        for place, (key, top, label) in zip(line, scales, strict=True):
            volume = source.delay if key == "tmax" and source is true else getattr(source, key)
            image = np.where(on_screen(brain, level, box), on_screen(volume, level, box), np.nan)
            drawn = place.imshow(image, vmin=0, vmax=top, cmap="turbo", interpolation="nearest")
            place.contour(on_screen(case.label, level, box), [0.5], colors="white", linewidths=0.8)
            letter_sides(place)
            place.set_xticks([])
            place.set_yticks([])
            place.set_facecolor("black")
            label = "delay, s" if key == "tmax" and source is true else label
            place.set_title(f"{title}: {label}" if key == "cbf" else label, fontsize=9)
            figure.colorbar(drawn, ax=place, fraction=0.045, pad=0.02).ax.tick_params(labelsize=7)
    figure.suptitle(f"Simulated scan {name}: true perfusion and what is measured; white: final lesion", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return png_bytes(figure, max_bytes=280_000)


def report(scans: Sequence[Row], curves: Sequence[Row], tiles: Sequence[Row], osipi: Sequence[Row], cases: int) -> str:
    """Return the tables in words and Markdown."""
    keys = [key for key in scans[0] if key not in ("case", "way", "voxels")]
    noisy = [row for row in curves if row["noise_hu"] == 0.3]
    flow = summary(noisy, ("method", "mtt_s"), ("cbf_ratio", "cbf_cv", "cbv_ratio", "mtt_ratio"))
    delay = summary(
        curves, ("method", "noise_hu"), ("tmax_slope", "tmax_at_0s", "tmax_sd_s", "cbf_change_over_3s_delay")
    )
    parts = [
        "# Perfusion maps against truth\n\nWritten by `python docs/make/perfusion_truth.py`; simulated data only.",
        f"## {cases} simulated scans, medians over scans\nRatio: median of the map over median of the truth; "
        "`cbf_x_area_mtt_a_b`: CBF over truth, times the area ratio of the arterial curve, by true MTT in s: "
        "what deconvolution alone does.\n\n" + as_table(summary(scans, ("way",), keys)),
        "## Curves, 0.3 HU of noise, medians over three residue functions\n\n" + as_table(flow),
        "## Delay 0 to 3 s, medians over residue functions and transit times\n\n" + as_table(delay),
        "## Tiles (CBV 1 to 5, MTT 3.4 to 24 s, delay 0 to 3 s, 4 HU of noise, 5 mm smoothing)\n\n" + as_table(tiles),
    ]
    if osipi:
        parts.append("## OSIPI synthetic DSC curves (no delay, CNR 200)\n\n" + as_table(osipi))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=6, help="simulated scans (default: 6)")
    parser.add_argument("--seed", type=int, default=2018)
    parser.add_argument("--max-slices", type=int, default=8)
    parser.add_argument("--picture", type=int, default=1, metavar="N", help="case drawn (default: 1)")
    parser.add_argument("--docs", default="docs", metavar="DIR")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    docs, scans = Path(args.docs), []
    for number in range(1, args.cases + 1):
        case, true = case_with_truth(number, seed=args.seed, max_slices=args.max_slices)
        maps = case_maps(case)
        scans += case_rows(f"case_{number}", maps, true)
        if number == args.picture:
            drawn = picture(case, maps, true, f"case_{number}")
            publish(docs / "figures/perfusion_truth.png", lambda tmp, drawn=drawn: tmp.write_bytes(drawn))
    curves, tiles = curve_rows(), tile_rows()
    osipi = osipi_rows(Path(os.environ["OSIPI_DSC"])) if os.environ.get("OSIPI_DSC") else []
    for name, rows in (("scans", scans), ("curves", curves), ("tiles", tiles), ("osipi", osipi)):
        if rows:
            publish_text(docs / f"tables/perfusion_{name}.csv", as_csv(rows))
    publish_text(docs / "tables/perfusion_truth.md", report(scans, curves, tiles, osipi, args.cases))
    print(report(scans, curves, tiles, osipi, args.cases))


if __name__ == "__main__":
    main()
