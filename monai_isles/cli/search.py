"""``monai-isles search``: choose threshold and smallest lesion on out-of-fold predictions, score by two protocols."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

from monai_isles.cli import options
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from monai_isles.crossval.protocols import Protocol


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("folder", metavar="DIR", help="output folder of monai-isles crossval; results go to DIR/search")
    parser.add_argument("--nested", metavar="DIR2", help="the same cross-validation by --protocol nested, to compare")
    options.share(parser, "--seed")


def run(args: argparse.Namespace) -> int:
    """Search, draw the heat map, print one table per protocol, return 0, or 3 with cases left out."""
    from pathlib import Path

    from monai_isles.crossval.search import SEARCH, search_folder
    from monai_isles.io.publish import publish
    from monai_isles.reports.canvas import png_bytes
    from monai_isles.reports.figures import search_heatmap

    grid, tables, record = search_folder(args.folder, nested=args.nested, seed=args.seed)
    kind = "simulated data" if record["simulated"] else "data as given"
    title = f"{record['data']} ({kind}), {record['cases']} out-of-fold maps, {record['training']} training"
    pair = record["chosen"]["threshold"], record["chosen"]["min_size_vox"]
    figure = search_heatmap(grid.scores(), grid.thresholds, grid.sizes_vox, pair, title=title)
    publish(Path(args.folder) / SEARCH / "heatmap.png", lambda tmp: tmp.write_bytes(png_bytes(figure)))
    print(json.dumps(record, indent=2, allow_nan=False) if args.json else _text(tables, record, args.folder))
    return EXIT_SOME_FAILED if record["left_out"] else EXIT_DONE


def _text(tables: Sequence[Protocol], record: dict[str, Any], folder: str) -> str:
    from monai_isles.reports.tables import summary_table

    chosen, voxel = record["chosen"], record["voxel_mm3"]
    lines = [
        f"chosen on all {record['cases']} out-of-fold maps: T {chosen['threshold']:g}, Smin "
        f"{chosen['min_size_vox']} voxels ({chosen['min_size_mm3']:g} mm3 at the median voxel of {voxel['median']:g} "
        f"mm3; voxels {voxel['least']:g} to {voxel['most']:g} mm3), score {chosen['score']:.4f}"
    ]
    for table in tables:
        pairs = sorted({(choice.threshold, choice.min_size_vox) for choice in table.choices.values()})
        text = ", ".join(f"T {threshold:g} Smin {size}" for threshold, size in pairs)
        head = f"== protocol {table.name}: {table.summary['protocol']}"
        lines += ["", head, f"   {text}", summary_table(table.summary)]
    lines += ["", *(_optimism(difference) for difference in record["optimism"])]
    lines += [f"{name}: left out\n{indent(reason, '  ')}" for name, reason in record["left_out"].items()]
    lines += [
        f"written: {folder}/postprocessing.json, {folder}/search/",
        f"use it:  monai-isles predict ... --threshold {chosen['threshold']:g} --min-size {chosen['min_size_vox']}",
    ]
    return "\n".join(lines)


def _optimism(difference: dict) -> str:
    ends, test = difference["dice_points_ci95"], difference["test"]
    interval = "-" if ends is None else f"{ends[0]:+.2f} to {ends[1]:+.2f}"
    p_t, p_w = (f"{p:.3g}" if p is not None else "-" for p in (test["cases"]["p_t"], test["cases"]["p_wilcoxon"]))
    return (
        f"{difference['of']} minus {difference['over']}: {difference['dice_points']:+.2f} Dice points (95 % interval "
        f"{interval}; paired t p {p_t}, Wilcoxon p {p_w}; {test['cases']['n']} cases, {test['subjects']['n']} subjects)"
    )
