"""Clèrigues 2020, Table 1: Baseline, Balanced and Proposed on SISS and SPES, four folds each, beside the published."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys

from reproduce_clerigues import ablation, ablation_arguments
from reproduce_common import study_arguments, study_of

from monai_isles.errors import EXIT_DONE

TASKS = {"siss": ((), "flair"), "spes": (("spes.json",), "t2")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the paper."""
    parser.add_argument("--table", type=int, choices=(1,), default=1, help="number of the table (default: 1)")
    parser.add_argument("--task", choices=tuple(TASKS), required=True, help="sub-acute lesions or penumbra")
    study_arguments(parser)
    ablation_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run every row of the task, write and print the tables; Smin of 10 to 1000 voxels is searched, as in the paper."""
    from monai_isles.crossval.protocols import MRI_SIZES_VOX

    overlays, shown = TASKS[args.task]
    study = dataclasses.replace(study_of(args, "clerigues_mri", overlays=overlays), sizes_vox=MRI_SIZES_VOX)
    args = copy.copy(args)
    args.no_threshold = True  # the threshold rules are for CT perfusion
    print(f"task {args.task}", file=sys.stderr)
    return ablation(args, study, rows=f"clerigues_mri_{args.task}", shown=shown) or EXIT_DONE
