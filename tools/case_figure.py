"""Draw one predicted case as the README shows it.

``python tools/case_figure.py --pred PREDICTIONS --ref DATA --scores SCORES --case case_3 --out docs/figures/case.png``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from monai_isles.io.publish import publish
from monai_isles.reports import case_montage, find_sources, load_view, png_bytes
from monai_isles.reports.scores import read_scores


def main() -> None:
    """Write the picture of the slice with the largest reference lesion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pred", "ref", "scores", "case", "out"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    scores = read_scores(args.scores)
    rows = next(iter(scores.per_case.values()))
    source = next(s for s in find_sources(Path(args.pred), Path(args.ref), rows) if s.name == args.case)
    view = load_view(source, simulated=scores.simulated)
    widest = int(np.argmax(view.truth.sum((0, 1))))
    picture = png_bytes(case_montage(view, [widest]), max_bytes=200_000)
    publish(args.out, lambda tmp: tmp.write_bytes(picture))


if __name__ == "__main__":
    main()
