"""``monai-isles phantom``: write a simulated data set: CT perfusion (ISLES 2018 layout) or MRI (ISLES 2015 layout)."""

from __future__ import annotations

import argparse
import json
import time

from monai_isles.cli import options as cohort_options


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add = parser.add_argument
    kinds = "CT perfusion (default), sub-acute MRI (SISS) or acute MRI with perfusion maps (SPES)"
    add("--kind", choices=("ct", "siss", "spes"), default="ct", help=kinds)
    add("--out", required=True, metavar="DIR", help="new folder, or that of the same command given before")
    add("--cases", required=True, type=int, metavar="N", help="scans in TRAINING")
    add("--seed", type=int, default=0, metavar="S", help="random seed (default 0)")
    tests = "scans of other subjects in TESTING, without lesion mask (default 0)"
    add("--test-cases", type=int, default=0, metavar="M", help=tests)
    add("--no-series", action="store_true", help="CT: leave out the contrast series (4DPWI), most of the disk")
    tall = "CT: leave out subjects with taller scans (default 22, all)"
    add("--max-slices", type=int, default=22, metavar="K", help=tall)
    varied = "CT: none, one scanner and one software (default); real, scanners, map software and patients vary; "
    varied += "unseen, the same with map software, a kernel and a noise level that real never has"
    add("--variety", choices=("none", "real", "unseen"), default="none", help=varied)
    coarse = "MRI: coarser voxels over the same field of view (default 1 for siss, 2 for spes)"
    add("--spacing", type=float, metavar="MM", help=coarse)
    dicom = "CT: also write plain CT, series and maps of every scan as DICOM, in DIR/DICOM/<section>/<case>"
    add("--dicom", choices=("classic", "shuttle", "enhanced"), help=dicom)
    cohort_options.arguments(parser, needs=False)


def run(args: argparse.Namespace) -> int:
    """Make the data set and print its folder."""
    cohort_options.chosen_place(args)
    from monai_isles.errors import EXIT_DONE
    from monai_isles.phantom.dataset import make_dataset

    start = time.monotonic()
    chosen = {name: getattr(args, name) for name in ("kind", "cases", "test_cases", "seed", "variety")}
    same = {name: getattr(args, name) for name in ("max_slices", "dicom", "workers", "cluster", "slurm")}
    out = make_dataset(args.out, **chosen, **same, series=not args.no_series, spacing_mm=args.spacing)
    seconds = round(time.monotonic() - start, 1)
    if args.json:
        print(json.dumps({"out": str(out), **chosen, "simulated": True, "seconds": seconds}))
    else:
        print(f"{args.cases} simulated scans in {out} ({seconds} s). Research only, not a medical device.")
    return EXIT_DONE
