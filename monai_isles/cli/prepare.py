"""``monai-isles prepare``: preprocess cases into a cache, so that training and prediction find them there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from monai_isles.cli import options as cohort_options
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("inputs", nargs="+", metavar="DIR", help="data folders")
    parser.add_argument("--bundle", required=True, help="folder of the bundle whose preprocessing is applied")
    parser.add_argument("--data-list", help="the cases of this data list only; its paths are relative to DIR")
    parser.add_argument("--section", default="training", help="section of the data list (default: training)")
    parser.add_argument("--overlay", nargs="+", default=[], metavar="NAME", help="config files inside the bundle")
    parser.add_argument("--for", dest="use", choices=("training", "prediction"), default="training",
                        help="whose preprocessing, where they differ (default: training)")  # fmt: skip
    parser.add_argument("--threads", type=int, help="processor threads (default: what this process may use)")
    cohort_options.cache_arguments(parser, required=True)
    cohort_options.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Preprocess each case alone; 3 when some failed."""
    place = cohort_options.chosen_place(args)
    from monai_isles.data.remote import is_url
    from monai_isles.inference.malloc import use_threads
    from monai_isles.workflows.prepare import Preparation, prepare_cohort

    use_threads(args.threads)
    chosen = {
        "bundle": str(Path(args.bundle).absolute()),
        "use": args.use,
        "overlays": tuple(args.overlay),
        "cache_dir": str(Path(args.cache).absolute()),
        "cache_gb": args.cache_gb,
        "data_list": None if args.data_list is None else str(Path(args.data_list).absolute()),
    }
    hows = [Preparation(folder=folder if is_url(folder) else str(Path(folder).absolute()), **chosen)
            for folder in args.inputs]  # fmt: skip
    cases = [(how, entry) for how in hows for entry in how.entries(section=args.section)]
    records = prepare_cohort(cases, place=place, gpus=args.case_gpus or 0, memory_gb=args.case_memory)
    failed = [name for name, one in records.items() if one["outcome"] == "failed"]
    print(json.dumps({"kind": "preparation", "cases": records}, indent=2) if args.json else _text(records, args.cache))
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _text(records: dict[str, dict[str, object]], cache: str) -> str:
    lines = []
    for name, record in records.items():
        lines.append(f"{name}: {record['outcome']}")
        lines += [f"  {line}" for line in str(record.get("error", "")).splitlines()]
    done = sum(record["outcome"] != "failed" for record in records.values())
    return "\n".join([*lines, f"{done} of {len(records)} cases in {cache}"])
