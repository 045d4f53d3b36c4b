"""``monai-isles prepare``: preprocess cases into a cache for training and prediction."""

from __future__ import annotations

import argparse

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
    from monai_isles.workflows.prepare import prepare

    chosen = {name: getattr(args, name) for name in ("use", "cache_gb", "data_list", "section", "strict")}
    bundle = Bundle.open(args.bundle, overlays=args.overlay)
    record = prepare(args.inputs, bundle, cache_dir=args.cache, place=place, **chosen)
    return cohort_options.print_records(args, record, cohort_options.outcomes_text(record["cases"], args.cache))
