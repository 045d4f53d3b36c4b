"""The options that the tables of all papers share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles.cli.crossval import setting

if TYPE_CHECKING:
    from monai_isles.papers.ablation import Study


def study_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare data, folder, bundle and settings."""
    parser.add_argument("--data-list", type=Path, help="data list with folds (default: made from the data folder)")
    parser.add_argument("--dataset-dir", type=Path, help="data folder (default: the bundle's, which is the phantom)")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables, figures and all trainings")
    parser.add_argument("--bundle", type=Path, help="folder of the bundle (default: bundles/<paper>)")
    parser.add_argument("--overlay", nargs="+", default=[], metavar="NAME", help="config files that all rows share")
    parser.add_argument("--set", nargs="+", action="extend", default=[], type=setting, metavar="KEY=VALUE",
                        help="settings of all rows, as JSON")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default: 0)")


def study_of(args: argparse.Namespace, bundle: str, *, overlays: tuple[str, ...] = ()) -> Study:
    """Return what the rows share.

    Args:
        bundle: name of the bundle's folder.
        overlays: config files that lie below those asked for.
    """
    from monai_isles.papers.ablation import Study

    return Study(
        bundle=args.bundle or Path("bundles") / bundle,
        data_list=args.data_list,
        dataset_dir=args.dataset_dir,
        overlays=(*overlays, *args.overlay),
        settings=dict(args.set),
        seed=args.seed,
    )
