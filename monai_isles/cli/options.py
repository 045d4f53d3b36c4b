"""The options that say where the cases of a cohort run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.cohort.task import Place


def chosen_bundle(args: argparse.Namespace) -> tuple[Bundle, dict[str, object], Sequence[str]]:
    """Return the bundle under its overlays, what the options change in it, and the modalities it then reads."""
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.inference.predictor import chosen_step, read_postprocessing, require_ids

    bundle = Bundle.open(args.bundle, overlays=args.overlay)
    config = bundle.config("inference")
    searched = read_postprocessing(Path(args.postprocessing)) if args.postprocessing else {}
    chosen = {
        "mc_passes": args.mc_passes,
        "threshold": args.threshold,
        "min_size_vox": args.min_size,
        "step": chosen_step(config.get(), args.step, fast=args.fast, whole_slices=args.whole_slices),
        "whole_slices": args.whole_slices or None,
        "precision": args.precision,
        "compiled": args.compile or None,
    }
    require_ids(config.get(), chosen | searched, args.bundle)
    given = {key: value for key, value in chosen.items() if value is not None}
    return bundle, searched | given, config["modalities"]


def records_text(records: dict[str, dict[str, object]], out: object) -> str:
    """Return one line a case, the reasons of failures, and how many there are."""
    lines = []
    for name, r in records.items():
        lines.append(f"{name}: {r['outcome']}" + (f", lesion {r['lesion_ml']} ml" if "lesion_ml" in r else ""))
        lines += [f"  {line}" for line in str(r.get("error", "")).splitlines()]
    done = sum(r["outcome"] != "failed" for r in records.values())
    return "\n".join([*lines, f"{done} of {len(records)} cases in {out}. Research only, not a medical device."])


def arguments(parser: argparse.ArgumentParser, *, needs: bool = True) -> None:
    """Declare them; ``needs``: also what one case needs of its worker."""
    group = parser.add_argument_group("many at once", "docs/scale.md says what to run where")
    group.add_argument("--workers", type=int, default=1, metavar="N", help="processes, or Slurm workers (default 1)")
    group.add_argument("--cluster", metavar="ADDRESS", help="running Dask scheduler, e.g. tcp://10.0.0.5:8786")
    group.add_argument("--slurm", metavar="FILE", help="YAML of dask-jobqueue's SLURMCluster: jobs are submitted")
    if needs:
        group.add_argument(
            "--case-memory", type=float, default=0.0, metavar="GB", help="memory that one case needs of its worker"
        )
        group.add_argument("--case-gpus", type=int, metavar="N", help="GPUs that one case needs (default: 1 on cuda)")


def cache_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare where preprocessed cases are kept."""
    parser.add_argument(
        "--cache", metavar="DIR", required=required, help="keep preprocessed cases here, by content and settings"
    )
    parser.add_argument(
        "--cache-gb", type=float, default=100.0, metavar="GB", help="bound of the cache; the oldest go (default 100)"
    )


def chosen_place(args: argparse.Namespace) -> Place:
    """Return where the cases run, judged before anything is loaded.

    Raises:
        IslesError: ``E-USE-60``, ``E-USE-61``, ``E-COH-01``, ``E-COH-1x`` from the Slurm profile.
    """
    from monai_isles.cohort.task import is_spread, require_place

    require_place(args.workers, args.cluster, args.slurm)
    place: Place = {"workers": args.workers, "cluster": args.cluster, "slurm": args.slurm}
    if is_spread(place):
        from monai_isles.cohort.clusters import read_profile, require_dask

        require_dask(slurm=args.slurm is not None)
        if args.slurm:
            read_profile(args.slurm)
    return place
