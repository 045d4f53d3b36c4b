"""``monai-isles predict-series``: process the scanner's series to maps, core, lesion, page and DICOM."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_isles.cli import options
from monai_isles.errors import refused

ADVANCED = options.ADVANCED - {"--section"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add = parser.add_argument
    series = "DICOM folders, 4D NIfTI files, folders with one such file (and ct.nii.gz), or data sets of these"
    add("series", nargs="+", metavar="SERIES", help=series)
    options.prediction_arguments(parser)
    options.share(parser, *options.SERIES_TIMES)
    add("--dicom-out", nargs="+", choices=("seg", "sr", "sc", "pdf", "maps"), metavar="KIND",
        help="objects to write if the source is DICOM: seg (masks, the default), sr (report of the numbers), "
             "sc (pictures), pdf, maps (parametric maps)")  # fmt: skip
    add("--dicom-maps", action="store_true", help=argparse.SUPPRESS)  # the former name of --dicom-out maps
    add("--no-dicom", action="store_true", help="write nothing as DICOM")
    add("--show-patient", action="store_true", help="print name, number and dates of the DICOM header on the page")
    for name, text in (("age", "age in years"), ("nihss", "NIHSS, 0 to 42")):
        about = f"{text}, for the DAWN profile of one study; age and NIHSS go together and are not stored"
        add(f"--{name}", type=float, metavar="N", help=about)
    viewer = "viewer of the page: small (default), or niivue, which adds three planes (8 MB for 16 slices)"
    add("--viewer", choices=("small", "niivue"), default="small", help=viewer)


def run(args: argparse.Namespace) -> int:
    """Measure and predict every study; return 3 when some failed."""
    place = options.start(args)
    from monai_isles.workflows.predict_dry import rehearse_series
    from monai_isles.workflows.predict_series import Wanted, predict_series

    settings, out = options.chosen_prediction(args), Path(args.out)
    read = {"dt_s": options.chosen_times(args), "resample": args.resample, "series": args.of_series,
            "slab_mm": args.slab_mm}  # fmt: skip
    if args.dry_run:
        return options.print_records(args, rehearse_series(args.series, out, **settings, **read))
    wanted = Wanted(not args.no_report, _objects(args), args.show_patient, viewer=args.viewer, dawn=_clinical(args))
    more = {"wanted": wanted, "entropy": args.entropy, "bids": args.bids, "strict": args.strict}
    return options.print_records(args, predict_series(args.series, out, **settings, **read, **more, place=place))


def _clinical(args: argparse.Namespace) -> tuple[float, float] | None:
    """Return age and NIHSS, None where neither is given."""
    if args.age is None and args.nihss is None:
        return None
    if args.age is None or args.nihss is None or not (0 <= args.age <= 130 and 0 <= args.nihss <= 42):
        raise refused("E-USE-81", where="--age and --nihss", found=f"age {args.age}, NIHSS {args.nihss}")
    return args.age, args.nihss


def _objects(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of the DICOM objects to write."""
    usual = () if args.no_dicom else ("seg",)
    return (*(args.dicom_out or usual), *(("maps",) if args.dicom_maps else ()))
