"""``monai-isles datalist``: read a data folder, write a data list with patient-grouped folds."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED, refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder, the file to write, and how to group and fold."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="data folder of any layout (docs/reading.md)")
    add("--out", type=Path, required=True, metavar="FILE", help="data list to write (JSON)")
    add("--folds", type=int, help="number of folds (default 5; 4 for ISLES 2015)")
    add("--seed", type=int, default=0, help="seed of the assignment (default 0)")
    add("--subjects", type=Path, metavar="FILE", help="CSV table with columns case, subject and, if needed, section")
    add("--target", metavar="NAME", help="label to segment in SPES: penumbra (default), core or area")
    add("--name", help="name of the list")
    add("--strict", action="store_true", help="stop at the first case that cannot be used")
    add("--force", action="store_true", help="replace an existing FILE")


def run(args: argparse.Namespace) -> int:
    """Write the list and print its counts; 3 when cases were left out."""
    if args.out.is_dir():
        raise refused("E-FILE-10", where=str(args.out), found="a folder", fix="name the list to write: list.json")
    if args.out.exists() and not args.force:
        raise refused("E-LIST-10", where=str(args.out), found="a file of that name")
    from monai_isles.data.datalist import make_datalist
    from monai_isles.io.publish import publish_json

    chosen = {"folds": args.folds, "seed": args.seed, "subjects": args.subjects}
    content = make_datalist(args.folder, **chosen, name=args.name, target=args.target, strict=args.strict)
    publish_json(args.out, content, inputs=[args.subjects] if args.subjects else [])
    counts = _counts(content, args.out)
    print(json.dumps(counts) if args.json else _text(counts))
    return EXIT_SOME_FAILED if counts["left_out"] else EXIT_DONE


def _counts(content: dict, out: Path) -> dict[str, Any]:
    folds = Counter(entry["fold"] for entry in content["training"])
    return {
        "file": str(out),
        "training": content["numTraining"],
        "test": content["numTest"],
        "subjects": len({entry["subject"] for entry in content["training"]}),
        "without_label": sum("label" not in entry for entry in content["training"]),
        "cases_per_fold": [folds[fold] for fold in sorted(folds)],
        "grouping": content["grouping"]["source"],
        "provisional": content["grouping"]["provisional"],
        "simulated": content["simulated"],
        "target": content.get("target"),
        "left_out": content.get("left_out", []),
    }


def _text(counts: dict[str, Any]) -> str:
    provisional = " (provisional: look at the pairs in the list)" if counts["provisional"] else ""
    lines = [
        f"{counts['training']} training cases of {counts['subjects']} subjects, {counts['test']} test cases",
        f"cases per fold {' '.join(map(str, counts['cases_per_fold']))}",
        f"subjects from {counts['grouping']}{provisional}",
    ]
    if counts["target"]:
        lines.append(f"lesion is the {counts['target']}")
    if counts["without_label"]:
        lines.append(f"{counts['without_label']} training cases have no lesion mask")
    for case in counts["left_out"]:
        lines.append(f"left out: {case['code']} {case['fault']}: {case['where']}: {case['found']}")
    return "\n".join([*lines, f"wrote {counts['file']}"])
