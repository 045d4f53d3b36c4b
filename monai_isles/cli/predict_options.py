"""What the options of ``monai-isles predict`` come to: the settings of the bundle, and the lines printed at the end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def chosen_changes(args: argparse.Namespace) -> tuple[dict[str, object], Sequence[str]]:
    """Return what overlays and options make of the bundle's ids, and the modalities it then reads."""
    from monai_isles.bundle.overlays import inference_changes
    from monai_isles.inference.step import chosen_step
    from monai_isles.inference.predictor import read_inference
    from monai_isles.inference.postprocessing_file import read_postprocessing
    from monai_isles.inference.step import require_ids

    config = read_inference(Path(args.bundle))
    overlaid = inference_changes(Path(args.bundle), args.overlay, {}) if args.overlay else {}
    config.update(overlaid)
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
    return overlaid | searched | given, config["modalities"]


def records_text(records: dict[str, dict[str, object]], out: object) -> str:
    """Return one line a case, the reasons of failures, and how many there are."""
    lines = []
    for name, r in records.items():
        lines.append(f"{name}: {r['outcome']}" + (f", lesion {r['lesion_ml']} ml" if "lesion_ml" in r else ""))
        lines += [f"  {line}" for line in str(r.get("error", "")).splitlines()]
    done = sum(r["outcome"] != "failed" for r in records.values())
    return "\n".join([*lines, f"{done} of {len(records)} cases in {out}. Research only, not a medical device."])
