"""``monai-isles report``: write the HTML page of a scored set of predictions."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from monai_isles.errors import EXIT_DONE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add = parser.add_argument
    add("--pred", required=True, help="output folder of predict: <case>/lesion.nii.gz, or <case>.nii.gz")
    add("--ref", required=True, help="references: an ISLES folder, or masks named like the predictions")
    scores = "output folders of evaluate on the same cases; the first holds the scores of --pred"
    add("--scores", required=True, nargs="+", help=scores)
    add("--names", nargs="+", help="name of each folder of scores (default: its bundle's; of several, the folders')")
    add("--curves", help="curves.csv of the training")
    papers = "print the published rows below: abulnaga, clerigues, clerigues_mri_siss, clerigues_mri_spes or wang"
    add("--published", metavar="PAPER", help=papers)
    add("--mirrored", action="store_true", help="show the mirrored channels of the network's input")
    add("--title", help="heading of the page (default: from the data's name)")
    add("--out", required=True, help="the page to write, page.html")


def run(args: argparse.Namespace) -> int:
    """Write the page, print its path and the table of methods, return 0."""
    from monai_isles.papers.published import published_rows
    from monai_isles.reports.tables import as_text
    from monai_isles.workflows.report import report

    options = {name: getattr(args, name) for name in ("names", "curves", "title", "mirrored")}
    options |= {"published": published_rows(args.published) if args.published else None}
    options |= {"command": ["monai-isles", *sys.argv[1:]]}
    cohort = report(args.pred, args.ref, args.scores, args.out, **options)
    size = Path(args.out).stat().st_size
    if args.json:
        shown = {"cases": len(next(iter(cohort.per_case.values()))), "methods": list(cohort.summaries)}
        print(json.dumps({"page": str(args.out), "bytes": size, **shown, "simulated": cohort.simulated}))
    else:
        print(f"{as_text(cohort.summaries, cohort.published)}\n\n{args.out}: {size / 1e6:.1f} MB")
    return EXIT_DONE
