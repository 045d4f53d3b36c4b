"""Options shared by verbs, and the printing of each case's outcome."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED, refused

if TYPE_CHECKING:
    from monai_isles.cohort.task import Place


def seed(word: str) -> int:
    """Read a seed of NumPy's generators from a command line."""
    if (number := int(word)) < 0:
        raise argparse.ArgumentTypeError(f"{word} is below 0")
    return number


ADVANCED = frozenset({
    "--whole-slices", "--precision", "--compile", "--mc-passes", "--threads", "--entropy", "--bids", "--cache",
    "--cache-gb", "--cluster", "--slurm", "--case-memory", "--case-gpus", "--section",
})  # fmt: skip
SHARED: dict[str, dict[str, Any]] = {
    "--bundle": {"required": True, "help": "name, folder or exported zip of the bundle, e.g. clerigues"},
    "--overlay": {"nargs": "+", "default": [], "metavar": "NAME", "help": "further config files of the bundle"},
    "--section": {"default": "training", "help": "section of the data list (default: training)"},
    "--device": {"default": "auto", "help": "auto, cpu, cuda or cuda:N (default: auto)"},
    "--threads": {"type": int, "help": "CPU threads (default: all that this process may use)"},
    "--seed": {"type": seed, "default": 0, "help": "seed of the bootstrap intervals (default: 0)"},
    "--strict": {"action": "store_true", "help": "stop at the first case that fails"},
    "--cache": {"type": Path, "metavar": "DIR", "help": "folder for preprocessed cases, to be used again"},
    "--cache-gb": {"type": float, "default": 100.0, "metavar": "GB",
                   "help": "limit of the cache; the oldest entries are removed (default 100)"},
    "--dt": {"type": float, "metavar": "S", "help": "seconds between frames, instead of the file's"},
    "--series": {"dest": "of_series", "metavar": "N",
                 "help": "number or UID of the series, if a DICOM folder holds several"},
    "--times": {"metavar": "FILE", "help": "file with the time of every frame in s, rising, instead of the image's"},
    "--slab-mm": {"type": float, "metavar": "MM",
                  "help": "average thin DICOM slices to this thickness, to need less memory"},
    "--workers": {"type": int, "default": 1, "metavar": "N", "help": "processes, or Slurm workers (default 1)"},
    "--cluster": {"metavar": "ADDRESS", "help": "address of a running Dask scheduler, e.g. tcp://10.0.0.5:8786"},
    "--slurm": {"metavar": "FILE", "help": "submit jobs with this YAML file for dask-jobqueue's SLURMCluster"},
    "--case-memory": {"type": float, "default": 0.0, "metavar": "GB", "help": "memory needed by one case"},
    "--case-gpus": {"type": int, "metavar": "N", "help": "GPUs needed by one case (default: 1 on cuda)"},
}  # fmt: skip
SERIES_TIMES = ("--dt", "--series", "--times", "--slab-mm")


def share(parser: argparse._ActionsContainer, *names: str, **changes: Any) -> None:
    """Declare options of ``SHARED``, with ``changes`` of their settings."""
    for name in names:
        parser.add_argument(name, **{**SHARED[name], **changes})


def prediction_arguments(parser: argparse.ArgumentParser, *, app: bool = False) -> None:
    """Declare the options that ``predict`` and ``predict-series`` share: bundle, output, settings, and place."""
    add = parser.add_argument
    share(parser, "--bundle")
    if not app:
        add("--out", required=True, help="folder for <case>/lesion.nii.gz and the other results")
    add("--weights", type=Path, nargs="+", default=[], metavar="FILE",
        help="weight files; probabilities of several are averaged")  # fmt: skip
    add("--resample", action="store_true",
        help="resample registered images onto the grid of the case's first image")  # fmt: skip
    share(parser, "--device", "--overlay")
    add("--step", type=int, nargs="+", metavar="VOXELS", help="step between windows: one number, or one for each axis")
    add("--fast", action="store_true", help="take larger steps between windows (cost: docs/fast.md)")
    add("--whole-slices", action="store_true", help="one pass over the whole slice instead of windows")
    add("--precision", choices=("fp32", "bf16"), help="bf16 is faster; results differ in the third digit")
    add("--compile", action="store_true", help="compile the networks first; worthwhile from about ten cases")
    add("--mc-passes", type=int, help="dropout passes per window (default: the bundle's)")
    add("--threshold", type=float, help="probability above which a voxel counts as lesion (default: the bundle's)")
    add("--min-size", type=int, metavar="VOXELS", help="smallest lesion to keep (default: the bundle's)")
    add("--postprocessing", type=Path, metavar="FILE", help="file of `search` with threshold and smallest component")
    share(parser, "--threads")
    add("--entropy", action="store_true", help="also write <case>/entropy.nii.gz, in bits")
    if not app:
        add("--bids", action="store_true", help="also write the results as BIDS derivatives, in OUT/derivatives")
    add("--no-report", action="store_true", help="leave out pages, table and methods text")
    if not app:
        add("--dry-run", action="store_true",
            help="check bundle, weights, inputs and OUT, print the plan, and stop")  # fmt: skip
    share(parser, "--strict", "--cache", "--cache-gb")
    arguments(parser)


def chosen_prediction(args: argparse.Namespace) -> dict[str, Any]:
    """Return ``bundle`` and ``choices`` of a prediction for the workflows."""
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.inference.predictor import Choices

    same = ("device", "fast", "whole_slices", "precision", "mc_passes", "threshold", "postprocessing", "cache_gb")
    choices = Choices(
        weights=tuple(args.weights), step=None if args.step is None else tuple(args.step), compiled=args.compile,
        min_size_vox=args.min_size, cache_dir=args.cache, **{name: getattr(args, name) for name in same},
    )  # fmt: skip
    return {"bundle": Bundle.open(args.bundle, overlays=args.overlay), "choices": choices}


def print_records(args: argparse.Namespace, record: Mapping[str, Any], text: str | None = None) -> int:
    """Print the outcome of each case, the plan of a dry run, or another text; return 3 when some failed, else 0."""
    cases = record["cases"]
    if record.get("kind") == "dry run":
        text = _rehearsal_text(record["bundle"], cases, args.out)
    text = text or f"{outcomes_text(cases, args.out)}. Research only, not a medical device."
    print(json.dumps(record, indent=2) if args.json else text)
    return EXIT_SOME_FAILED if any(case["outcome"] == "failed" for case in cases.values()) else EXIT_DONE


def _rehearsal_text(bundle: str, cases: Mapping[str, Mapping[str, Any]], out: object) -> str:
    lines = [f"bundle {bundle}: config and weights are sound"]
    for name, case in cases.items():
        lines.append(f"{name}: {case['outcome']}{_input_text(case) if case['outcome'] == 'ready' else ''}")
        lines += [f"  {line}" for line in str(case.get("error", "")).splitlines()]
    ready, done = (sum(case["outcome"] == word for case in cases.values()) for word in ("ready", "done before"))
    before = f", {done} are done already" if done else ""
    lines.append(f"{ready} of {len(cases)} cases would be predicted into {out}{before}; nothing was written")
    return "\n".join(lines)


def _input_text(outcome: Mapping[str, Any]) -> str:
    shape, spacing = (" x ".join(f"{n:g}" for n in outcome[key]) for key in ("shape", "spacing_mm"))
    text = f", {' '.join(outcome['modalities'])}, {shape} voxels of {spacing} mm"
    if "frames" in outcome:
        text += f", {outcome['frames']} frames in {outcome['seconds_of_scan']:g} s"
    return text + (f", at most {outcome['windows_at_most']} windows" if "windows_at_most" in outcome else "")


def outcomes_text(records: Mapping[str, Mapping[str, object]], out: object) -> str:
    """Return one line per case, then the failed ones with their reasons, and the counts."""
    done, failed = [], []
    for name, record in records.items():
        if record["outcome"] == "failed":
            failed += [f"{name}: failed", *(f"  {line}" for line in str(record.get("error", "")).splitlines())]
        else:
            volume = f", lesion {record['lesion_ml']} ml" if "lesion_ml" in record else ""
            done.append(f"{name}: {record['outcome']}{volume}")
    return "\n".join([*done, *failed, f"{len(done)} of {len(records)} cases in {out}"])


def arguments(parser: argparse.ArgumentParser, *, needs: bool = True) -> None:
    """Declare the options of the place; ``needs`` adds the resources of one case."""
    group = parser.add_argument_group("many at once", "see docs/scale.md")
    share(group, "--workers", "--cluster", "--slurm", *(("--case-memory", "--case-gpus") if needs else ()))


def chosen_times(args: argparse.Namespace) -> float | list[float] | None:
    """Return the user's step or times, None without either."""
    if args.times is None:
        return args.dt
    if args.dt is not None:
        raise refused("E-USE-65", where="--times", found=f"--dt {args.dt:g} and --times {args.times}")
    from monai_isles.io.clock import read_times

    return read_times(args.times)


def chosen_place(args: argparse.Namespace) -> Place:
    """Return where the cases run and what each needs, checked before anything is loaded."""
    from monai_isles.cohort.task import is_spread, require_place, stands_elsewhere

    place: Place = {"workers": args.workers, "cluster": args.cluster, "slurm": args.slurm}
    require_place(place)
    if hasattr(args, "case_memory"):
        place["memory_gb"] = args.case_memory
        place |= {} if args.case_gpus is None else {"gpus": args.case_gpus}
    archive = str(getattr(args, "bundle", ""))
    if stands_elsewhere(place) and archive.lower().endswith(".zip"):
        raise refused("E-USE-82", where="--bundle with --cluster or --slurm", found=archive)
    if is_spread(place):
        from monai_isles.cohort.clusters import read_profile, require_dask

        require_dask(slurm=args.slurm is not None)
        if args.slurm:
            read_profile(args.slurm)
    return place


def start(args: argparse.Namespace) -> Place:
    """Check the place and limit the CPU threads before anything heavy is loaded; return the place."""
    place = chosen_place(args)
    from monai_isles.inference.malloc import use_threads

    use_threads(args.threads)
    return place
