"""``monai-isles prepare``: preprocess cases into a cache for training and prediction."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_isles.cli import options as cohort_options


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("inputs", nargs="+", metavar="DIR", help="data folders")
    parser.add_argument("--bundle", required=True, help="name or folder of the bundle whose preprocessing is applied")
    parser.add_argument("--data-list", help="the cases of this data list only; its paths are relative to DIR")
    cohort_options.share(parser, "--section", "--overlay")
    parser.add_argument("--for", dest="use", choices=("training", "prediction"), default="training",
                        help="which preprocessing of the bundle, if they differ (default: training)")  # fmt: skip
    cohort_options.share(parser, "--threads", "--strict", "--cache-gb")
    cohort_options.share(parser, "--cache", required=True)
    cohort_options.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Preprocess every case; return 3 when some failed."""
    place = cohort_options.start(args)
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.workflows.prepare import Preparation, prepare

    options = Preparation(
        bundle=str(Bundle.open(args.bundle).root.absolute()),
        folder="",
        use=args.use,
        overlays=tuple(args.overlay),
        cache_dir=str(args.cache.absolute()),
        cache_gb=args.cache_gb,
        data_list=None if args.data_list is None else str(Path(args.data_list).absolute()),
    )
    record = prepare(args.inputs, options, section=args.section, place=place, strict=args.strict)
    return cohort_options.print_records(args, record, cohort_options.outcomes_text(record["cases"], args.cache))
