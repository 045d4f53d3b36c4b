"""Draw one predicted case as the README shows it: of any bundle, pseudo-DWI and all.

``python docs/make/case_figure.py --pred PREDICTIONS --ref DATA --scores SCORES --case case_3 --out FILE.png``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_isles.io.publish import publish
from monai_isles.reports.canvas import png_bytes
from monai_isles.reports.gather import find_sources, load_view, read_scores
from monai_isles.reports.montage import case_montage


def main(argv: Sequence[str] | None = None) -> None:
    """Write the picture of the slice with the largest lesion, or of several slices through it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pred", "ref", "scores", "case", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--slices", type=int, default=1, help="how many slices, spread over the lesion (default: 1)")
    args = parser.parse_args(argv)
    scores = read_scores(args.scores)
    rows = next(iter(scores.per_case.values()))
    source = next((s for s in find_sources(Path(args.pred), Path(args.ref), rows) if s.case.name == args.case), None)
    if source is None:
        parser.error(f"--case: {args.case} is not among the scored cases")
    view = load_view(source, simulated=scores.simulated)
    slices = [int(np.argmax(view.truth.sum((0, 1))))]
    if args.slices > 1:
        slices = view.chosen_slices(args.slices)
    picture = png_bytes(case_montage(view, slices), max_bytes=200_000)
    publish(args.out, lambda tmp: tmp.write_bytes(picture))


if __name__ == "__main__":
    main()
