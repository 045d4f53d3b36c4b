"""``monai-isles bids``: run as a BIDS App, from participants of a BIDS data set to BIDS derivatives."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_isles.cli import options


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb, named as BIDS Apps name them."""
    parser.add_argument("bids_dir", metavar="INPUT", help="BIDS data set")
    parser.add_argument("out", metavar="OUTPUT", help="BIDS derivative data set to write or to add to")
    parser.add_argument("analysis_level", choices=("participant",), help="the only level")
    parser.add_argument(
        "--participant-label", "--participant_label", dest="participants", nargs="+", default=[], metavar="LABEL",
        help="participants, with or without sub- (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "-w", "--work-dir", "--work_dir", dest="work", metavar="DIR",
        help="folder for files that are not BIDS (default: OUTPUT/.monai_isles)",
    )  # fmt: skip
    options.prediction_arguments(parser, app=True)


def run(args: argparse.Namespace) -> int:
    """Predict every participant; return 3 when some failed."""
    place = options.start(args)
    from monai_isles.workflows.bids import predict_participants

    wanted = {"entropy": args.entropy, "report": not args.no_report, "resample": args.resample, "strict": args.strict}
    chosen = {"participants": args.participants, "work": args.work, **options.chosen_prediction(args)}
    record = predict_participants(args.bids_dir, Path(args.out), **chosen, **wanted, place=place)
    return options.print_records(args, record)
