"""``monai-isles perfusion``: maps of flow, volume, transit time and delay from the raw series."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from monai_isles.errors import EXIT_DONE, IslesError

_MAPS = ("cbf", "cbv", "mtt", "tmax", "ttp", "rcbf")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("series", metavar="SERIES", help="4D NIfTI file, or the DICOM folder of the dynamic scan")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the maps, perfusion.json and run.json")
    parser.add_argument(
        "--method", choices=("bcsvd", "osvd", "tikhonov"), default="bcsvd", help="deconvolution (default: bcsvd)"
    )
    parser.add_argument(
        "--truncation",
        metavar="PART",
        help="bcsvd: singular values dropped below this part (default 0.10); osvd: largest oscillation index (0.065); "
        "tikhonov: strength (0.10), or gcv for each voxel's own",
    )
    parser.add_argument(
        "--smoothing-mm", type=float, default=5.0, metavar="MM", help="full width at half maximum, in plane (default 5)"
    )
    parser.add_argument("--dt", type=float, metavar="S", help="seconds between frames, instead of the file's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: what this process may use)")
    parser.add_argument("--no-motion", action="store_true", help="measure the series as it lies")


def run(args: argparse.Namespace) -> int:
    """Read, prepare, measure, write; say what a reader of the maps must know."""
    truncation = _truncation(args.truncation)
    _require_smoothing(args.smoothing_mm)
    from monai_isles.data.series import read_perfusion_series
    from monai_isles.inference.threads import use_threads
    from monai_isles.io import RunFolder
    from monai_isles.perfusion import contralateral, measured_maps, perfusion_record, prepare_series, relative_cbf
    from monai_isles.training import pick_device
    from monai_isles.transforms.hemispheres import split_head

    use_threads(args.threads)
    device, out = pick_device(args.device), Path(args.out)
    with RunFolder(out, outputs=[f"{name}.nii.gz" for name in (*_MAPS, "brain")]) as held:
        series = read_perfusion_series(args.series, dt_s=args.dt)
        prepared = prepare_series(
            series.array, spacing_mm=series.spacing_mm, times_s=series.times_s, motion=not args.no_motion
        )
        maps = measured_maps(
            prepared, method=args.method, truncation=truncation, smoothing_mm=args.smoothing_mm, device=device
        )
        left, midline = split_head(prepared.baseline_hu, maps.brain, series.spacing_mm, where=str(args.series))
        healthy = contralateral(maps.tmax, maps.brain, left)
        volumes = {name: getattr(maps, name) for name in _MAPS[:-1]}
        volumes["rcbf"] = relative_cbf(maps.cbf, maps.brain, healthy)
        settings = _settings(args, truncation, str(device))
        record = perfusion_record(prepared, maps, settings) | {
            "midline": midline,
            "timed_by_file": series.timed and args.dt is None,
            "map_files": _publish(out, volumes, maps.brain, series.like),
        }
        _publish_record(out, record)
        held.finish({"kind": "perfusion", "series": str(args.series), "sha256": series.like.sha256, **record})
    print(json.dumps(record, indent=2) if args.json else _text(record, out))
    return EXIT_DONE


def _truncation(text: str | None) -> float | str | None:
    if text is None or text == "gcv":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise IslesError(
            "E-USE-30", "not a number", where="--truncation", found=repr(text), fix="give a number between 0 and 1"
        ) from error


def _require_smoothing(width_mm: float) -> None:
    if not 0 <= width_mm <= 30:
        raise IslesError(
            "E-USE-31",
            "no such smoothing",
            where="--smoothing-mm",
            found=f"{width_mm:g} mm",
            fix="give 0 to 30 mm, full width at half maximum",
        )


def _settings(args: argparse.Namespace, truncation: float | str | None, device: str) -> dict[str, object]:
    from monai_isles.perfusion import METHODS

    return {
        "method": args.method,
        "truncation": METHODS[args.method] if truncation is None else truncation,
        "smoothing_mm": args.smoothing_mm,
        "motion": not args.no_motion,
        "device": device,
    }


def _publish(out: Path, volumes: dict, brain: object, like: object) -> dict[str, str]:
    from monai_isles.io import publish_image
    from monai_isles.perfusion import MAP_UNITS

    for name, volume in volumes.items():
        unit = MAP_UNITS.get(name, "part of the healthy side's mean")
        publish_image(out / f"{name}.nii.gz", volume, like, dtype="float32", description=f"{name.upper()} {unit}")
    publish_image(out / "brain.nii.gz", brain, like, dtype="uint8", description="brain, no vessels, no fluid")
    return {name: f"{name}.nii.gz" for name in (*volumes, "brain")}


def _publish_record(out: Path, record: dict[str, object]) -> None:
    from monai_isles.io import publish_json

    publish_json(out / "perfusion.json", record)


def _text(record: dict, out: Path) -> str:
    medians = ", ".join(f"{name} {value:g} {record['units'][name]}" for name, value in record["medians"].items())
    moved = record["motion"]
    lines = [
        f"{record['frames']} frames of {record['dt_s']:g} s, {record['brain_ml']:.0f} ml of brain; medians {medians}"
    ]
    if moved["largest_mm"] is not None:
        lines.append(f"movement up to {moved['largest_mm']:.2f} mm, {'undone' if moved['applied'] else 'left'}")
    lines += [f"{flag['severity']}: {flag['text']}" for flag in record["flags"]]
    return "\n".join([*lines, f"maps in {out}. Research only, not a medical device."])
