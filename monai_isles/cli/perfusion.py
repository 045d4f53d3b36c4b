"""``monai-isles perfusion``: compute maps of flow, volume, transit time and delay from the raw series."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from monai_isles.cli import options as cohort_options
from monai_isles.errors import EXIT_DONE, refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add = parser.add_argument
    series = "4D NIfTI file, DICOM folder of the dynamic scan, or data set; several go into DIR/<name> each"
    add("series", nargs="+", metavar="SERIES", help=series)
    add("--out", required=True, metavar="DIR", help="folder for the maps, perfusion.json and run.json")
    methods = "learned: model of transit, its prior learned from the scan (default without --truncation); bayes: the "
    methods += "same, its prior fixed; bcsvd: the conventional truncated decomposition, by which published volumes "
    methods += "were measured; osvd; tikhonov"
    add("--method", choices=("learned", "bayes", "bcsvd", "osvd", "tikhonov"), help=methods)
    parts = "bayes, learned: spread of the prior of transit times (default 0.5); bcsvd: part below which values are "
    parts += "dropped (0.10); osvd: largest oscillation index (0.035); tikhonov: strength (0.10), or gcv for each "
    parts += "voxel's own"
    add("--truncation", metavar="PART", help=parts)
    width = "in-plane smoothing, full width at half maximum (default 5, wider where a scan is noisy, up to 10)"
    add("--smoothing-mm", type=float, metavar="MM", help=width)
    cohort_options.share(parser, *cohort_options.SERIES_TIMES, "--device", "--threads", "--strict")
    add("--no-motion", action="store_true", help="do not correct movement")
    cohort_options.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Read, prepare, measure and write; print the remarks for the reader of the maps."""
    truncation = _truncation(args.truncation)
    request, place = cohort_options.chosen_times(args), cohort_options.start(args)
    from monai_isles.training.distributed import pick_device
    from monai_isles.workflows.perfusion import Measuring, perfusion

    device, moved, out = str(pick_device(args.device)), not args.no_motion, Path(args.out)
    options = Measuring(
        args.method, truncation, args.smoothing_mm, request, moved, device, args.of_series, args.slab_mm
    )
    record = perfusion(args.series, out, options, place=place, strict=args.strict)
    if "cases" in record:
        return cohort_options.print_records(args, record)
    print(json.dumps(record, indent=2) if args.json else _text(record, out))
    return EXIT_DONE


def _truncation(text: str | None) -> float | str | None:
    if text is None or text == "gcv":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise refused("E-USE-30", where="--truncation", found=repr(text)) from error


def _ischaemia_text(record: dict) -> str:
    result = record["ischaemia"]
    if "not_computed" in result:
        return f"no volumes: {result['not_computed']}"
    ratio = result["mismatch_ratio"]
    mismatch = f"mismatch {result['mismatch_ml']:.1f} ml" + ("" if ratio is None else f", ratio {ratio:.2f}")
    return (
        f"core (rCBF < 30 %) {result['core_ml']:.1f} ml, Tmax > 6 s {result['hypoperfused_ml']:.1f} ml, {mismatch}, "
        f"side {result['side']}, of the {record['coverage']['mm']:g} mm measured"
    )


def _text(record: dict, out: Path) -> str:
    medians = ", ".join(f"{name} {value:g} {record['units'][name]}" for name, value in record["medians"].items())
    moved, seen = record["motion"], record["coverage"]
    lines = [
        f"{record['frames']} frames of {record['dt_s']:g} s (times: {record['times_from']}), "
        f"{record['brain_ml']:.0f} ml of brain in {seen['slices']} slices, {seen['mm']:g} mm; medians {medians}",
        _ischaemia_text(record),
    ]
    if moved["largest_mm"] is not None:
        lines.append(f"movement up to {moved['largest_mm']:.2f} mm, {'undone' if moved['applied'] else 'left'}")
    lines += [f"{flag['severity']}: {flag['text']}" for flag in record["flags"]]
    return "\n".join([*lines, f"maps in {out}. Research only, not a medical device."])
