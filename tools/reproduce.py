"""Reproduce a paper's tables and figures: our rows, trained and scored here, beside the published ones.

What is done is kept: repeat the same command to go on after a stop.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

for place in (Path(__file__).resolve().parents[1], Path(__file__).resolve().parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from monai_isles.errors import IslesError, find_isles_error  # noqa: E402

PAPERS = {
    "abulnaga": "Abulnaga & Rubin 2018, PSPNet and focal loss",
    "clerigues": "Clèrigues 2019, CT perfusion core",
    "clerigues_mri": "Clèrigues 2020, MRI of sub-acute lesions and penumbra",
    "wang": "Wang, Song et al. 2020, pseudo-DWI and SLNet",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make what was asked for; exit codes as those of ``monai-isles``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    papers = parser.add_subparsers(dest="paper", required=True, metavar="PAPER")
    modules = {}
    for name, title in PAPERS.items():
        modules[name] = importlib.import_module(f"reproduce_{name}")
        modules[name].arguments(papers.add_parser(name, help=title, description=modules[name].__doc__))
    args = parser.parse_args(argv)
    try:
        return modules[args.paper].run(args)
    except (IslesError, RuntimeError) as error:
        ours = find_isles_error(error)
        if ours is None:
            raise
        print(ours, file=sys.stderr)
        return ours.exit_code


if __name__ == "__main__":
    sys.exit(main())
