"""``monai-isles predict --dry-run``: read and judge everything, say what would be done, and write nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from monai_isles.cli import predict_series
from monai_isles.cli.options import chosen_bundle
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED

Entries = Callable[[argparse.Namespace, Sequence[str]], list[dict[str, object]]]


def run(args: argparse.Namespace, entries_of: Entries) -> int:
    """Print what a prediction with these words would do; the exit code is the one it would begin with.

    Judged: config and overlays, weights (checksum, archive, fit), inputs (bytes, header, values, grids), the output
    folder. Not run: registration, network, postprocessing.
    """
    from monai_isles.inference.malloc import use_threads
    from monai_isles.inference.predictor import load_predictor
    from monai_isles.io.runs import judge_folder
    from monai_isles.workflows.predict_dry import rehearse_cases

    use_threads(args.threads)
    bundle, changes, modalities = chosen_bundle(args)
    out, weights = Path(args.out), [Path(w) for w in args.weights]
    if args.from_series:
        predict_series.require_given(modalities, args.bundle)
    entries = [] if args.from_series else entries_of(args, modalities)
    predictor = load_predictor(bundle, out, weights=weights, device=args.device, changes=changes)
    judge_folder(out, outputs=[f"{entry['case']}/probability.nii.gz" for entry in entries])
    records = _studies(args) if args.from_series else rehearse_cases(predictor, entries, out)
    record = {
        "kind": "dry run",
        "bundle": predictor.bundle,
        "weights": predictor.weights,
        "cases": records,
        "settings": predictor.settings,
    }
    print(json.dumps(record, indent=2) if args.json else _text(record, records, out))
    return EXIT_SOME_FAILED if any(one["outcome"] == "failed" for one in records.values()) else EXIT_DONE


def _studies(args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Read every study in full; one that cannot be read takes no other along."""
    from monai_isles.cohort.task import FAULTS, failed
    from monai_isles.data.study import StudyFiles, find_studies
    from monai_isles.progress import progress

    records = find_studies(args.from_series)
    for name, study in progress(list(records.items()), "reading", total=len(records)):
        try:
            if isinstance(study, StudyFiles):
                records[name] = _read_study(study, dt_s=args.dt, resample=args.resample)
        except FAULTS as error:
            records[name] = failed(error)
    return records


def _read_study(study: object, **how: object) -> dict[str, object]:
    from monai_isles.data.study import read_study

    images = read_study(study, **how)
    series = images.series
    return {
        "outcome": "ready",
        "modalities": ["ctp", *(["ct"] if images.plain_ct is not None else [])],
        "frames": len(series.array),
        "seconds_of_scan": round(float(series.times_s[-1] - series.times_s[0]), 2),
        "shape": list(series.array.shape[1:]),
        "spacing_mm": [round(float(one), 4) for one in series.spacing_mm],
        "notes": list(images.notes),
    }


def _text(record: Mapping[str, object], records: Mapping[str, Mapping[str, object]], out: Path) -> str:
    lines = [f"bundle {record['bundle']}: config and weights are sound"]
    for name, one in records.items():
        lines.append(f"{name}: {one['outcome']}{_about(one) if one['outcome'] == 'ready' else ''}")
        lines += [f"  {line}" for line in str(one.get("error", "")).splitlines()]
    ready, done = (sum(one["outcome"] == word for one in records.values()) for word in ("ready", "done before"))
    before = f", {done} are done already" if done else ""
    lines.append(f"{ready} of {len(records)} cases would be predicted into {out}{before}; nothing was written")
    return "\n".join(lines)


def _about(one: Mapping[str, object]) -> str:
    shape, spacing = (" x ".join(f"{n:g}" for n in one[key]) for key in ("shape", "spacing_mm"))
    text = f", {' '.join(one['modalities'])}, {shape} voxels of {spacing} mm"
    if "frames" in one:
        text += f", {one['frames']} frames in {one['seconds_of_scan']:g} s"
    return text + (f", at most {one['windows_at_most']} windows" if "windows_at_most" in one else "")
