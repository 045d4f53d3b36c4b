"""``monai-isles prepare``: preprocess cases into a cache for training and prediction."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from monai_isles.cli import options as cohort_options
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("inputs", nargs="+", metavar="DIR", help="data folders")
    parser.add_argument("--bundle", required=True, help="name or folder of the bundle whose preprocessing is applied")
    parser.add_argument("--data-list", help="the cases of this data list only; its paths are relative to DIR")
    parser.add_argument("--section", default="training", help="section of the data list (default: training)")
    parser.add_argument("--overlay", nargs="+", default=[], metavar="NAME", help="further config files of the bundle")
    parser.add_argument("--for", dest="use", choices=("training", "prediction"), default="training",
                        help="which preprocessing of the bundle, if they differ (default: training)")  # fmt: skip
    parser.add_argument("--threads", type=int, help="CPU threads (default: all that this process may use)")
    cohort_options.strict_argument(parser)
    cohort_options.cache_arguments(parser, required=True)
    cohort_options.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Preprocess every case; return 3 when some failed."""
    place = cohort_options.chosen_place(args)
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.inference.malloc import use_threads
    from monai_isles.workflows.prepare import Preparation, prepare

    use_threads(args.threads)
    options = Preparation(
        bundle=str(Bundle.open(args.bundle).root.absolute()),
        folder="",
        use=args.use,
        overlays=tuple(args.overlay),
        cache_dir=str(Path(args.cache).absolute()),
        cache_gb=args.cache_gb,
        data_list=None if args.data_list is None else str(Path(args.data_list).absolute()),
    )
    record = prepare(args.inputs, options, section=args.section, place=place, strict=args.strict)
    failed = [name for name, item in record["cases"].items() if item["outcome"] == "failed"]
    print(json.dumps(record, indent=2) if args.json else cohort_options.outcomes_text(record["cases"], args.cache))
    return EXIT_SOME_FAILED if failed else EXIT_DONE
