"""``monai-isles evaluate``: score predictions and threshold rules against references."""

from __future__ import annotations

import argparse
import json

from monai_isles.cli import options as cohort_options
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED

_OPTIONS = ("data_list", "section", "folds", "baseline", "allow_missing", "seed", "strict", "connectivity")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add = parser.add_argument
    add("--pred", required=True, help="predictions: <case>/lesion.nii.gz or <case>.nii.gz")
    references = "references: an ISLES folder (with --data-list also a URL), or masks named like the predictions"
    add("--ref", required=True, help=references)
    add("--out", required=True, help="folder for per_case.csv, summary.json and run.json")
    add("--data-list", help="score the cases of this data list only; its paths are relative to --ref")
    cohort_options.share(parser, "--section", "--seed")
    add("--folds", type=int, nargs="+", help="folds of the section to score (default: all)")
    rules = "score rCBF < 30 %% too, and with --folds the best single threshold of the other folds"
    add("--baseline", action="store_true", help=rules)
    add("--allow-missing", action="store_true", help="score a missing prediction as an empty mask")
    add("--strict", action="store_true", help="refuse when a case cannot be scored")
    touch = "voxels of one lesion touch by faces (6, default), or by edges and corners too (26)"
    add("--connectivity", type=int, choices=(6, 26), default=6, help=touch)
    cohort_options.arguments(parser, needs=False)


def run(args: argparse.Namespace) -> int:
    """Score, print the table (or the summary as JSON); 3 when cases were left out."""
    place = cohort_options.chosen_place(args)
    from monai_isles.reports.tables import summary_table
    from monai_isles.workflows.evaluate import score_folder

    options = {name: getattr(args, name) for name in _OPTIONS}
    summary = score_folder(args.pred, args.ref, args.out, place=place, **options)
    print(json.dumps(summary, indent=2, allow_nan=False) if args.json else summary_table(summary))
    return EXIT_SOME_FAILED if summary["left_out"] else EXIT_DONE
