"""``monai-isles predict``: segment new cases."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from monai_isles.cli import options

ADVANCED = options.ADVANCED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("inputs", nargs="+", metavar="CASE_DIR", help="case folders, or data folders that hold cases")
    options.prediction_arguments(parser)
    parser.add_argument("--data-list", help="predict the cases of this data list; its paths are relative to CASE_DIR")
    text = "training or test of the data list (default: training) or of a data folder (default: both)"
    options.share(parser, "--section", default=None, help=text)
    parser.add_argument("--folds", type=int, nargs="+", help="folds of the section (default: all)")


def run(args: argparse.Namespace) -> int:
    """Predict every case; return 3 when some failed."""
    place = options.start(args)
    from monai_isles.workflows.predict import predict, prediction_entries
    from monai_isles.workflows.predict_dry import rehearse

    chosen = {name: getattr(args, name) for name in ("data_list", "section", "folds", "resample")}
    find = partial(prediction_entries, args.inputs, **chosen)
    settings, out = options.chosen_prediction(args), Path(args.out)
    if args.dry_run:
        return options.print_records(args, rehearse(find, out, **settings))
    wanted = {"entropy": args.entropy, "bids": args.bids, "report": not args.no_report, "strict": args.strict}
    return options.print_records(args, predict(find, out, **settings, place=place, **wanted))
