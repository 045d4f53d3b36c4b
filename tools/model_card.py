"""Write a bundle's model card: of its weights from a training run and its scores, or of a bundle without weights.

``python tools/model_card.py bundles/clerigues --run RUN --scores SCORES --predictions PREDICTIONS --device WORDS``
``python tools/model_card.py bundles/abulnaga``

What only the bundle's authors know stands under ``card`` in ``paper.json``, what was measured in ``metadata.json``.
Its ``bare`` replaces the sentence that a bundle without weights has to be trained first.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_isles.bundle.bundle import WEIGHTS, Bundle
from monai_isles.errors import IslesError
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_together
from monai_isles.papers.published import published_rows
from monai_isles.reports import model_card
from monai_isles.reports.canvas import png_bytes
from monai_isles.reports.card import require_card
from monai_isles.reports.curves import best_epoch, read_curves, training_curves
from monai_isles.reports.gather import side_by_side

NETWORK = "these weights"
_OF_A_RUN = ("run", "scores", "predictions", "device", "memory_gb")


def main(argv: Sequence[str] | None = None) -> None:
    """Write README.md; with a run also copy the weights and the curves into the bundle and update metadata.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", type=Path, help="output folder of the training")
    parser.add_argument("--scores", type=Path, help="output folder of evaluate on unseen cases")
    parser.add_argument("--predictions", type=Path, help="output folder of predict on those cases")
    parser.add_argument("--device", help="what it was trained on, in words")
    parser.add_argument("--memory-gb", help="peak memory of predict, as measured")
    parser.add_argument("--training-command", help="what was run, in place of the words of the card")
    parser.add_argument("--note", action="append", default=[], help="a sentence the reader must know")
    parser.add_argument("--texts", type=Path, help="JSON with the card's words (default: the bundle's own)")
    args = parser.parse_args(argv)
    given = [name for name in _OF_A_RUN if getattr(args, name) is not None]
    if given and len(given) < len(_OF_A_RUN):
        missing = ", ".join("--" + name.replace("_", "-") for name in _OF_A_RUN if name not in given)
        parser.error(f"a card of trained weights also needs {missing}; give none of them where no weights are shipped")
    if not (args.bundle / "metadata.json").is_file():
        parser.error(f"no metadata.json in {args.bundle}: give the folder of a bundle, such as bundles/clerigues")
    metadata = json.loads((args.bundle / "metadata.json").read_text(encoding="utf-8"))
    texts = json.loads(args.texts.read_text(encoding="utf-8")) if args.texts else words_of(args.bundle)
    readme = args.bundle / "README.md"
    require_card(readme)
    if not given and (args.bundle / WEIGHTS).is_file():
        parser.error(f"{args.bundle} carries weights: give their --run and scores, or delete {WEIGHTS}")
    facts = {**_card_facts(metadata, texts), "notes": [*texts.get("notes", ()), *args.note]}
    if not given:
        bare = {"bare": texts["bare"]} if "bare" in texts else {}
        _publish({readme: model_card({**facts, "weights": None, "results": texts.get("results")} | bare)})
        return
    weights, curves = args.run / "model.pt", args.run / "curves.csv"
    facts |= describe(args, metadata, texts, sha256_of(weights))
    facts["training_command"] = args.training_command or facts["training_command"]
    metadata |= {"weights_sha256": facts["weights_sha256"], "eval_metrics": mean_dice(args.scores)}
    made = {
        args.bundle / WEIGHTS: weights.read_bytes(),
        args.bundle / "docs/curves.csv": curves.read_bytes(),
        args.bundle / "docs/curves.png": png_bytes(training_curves(read_curves(curves))),
        readme: model_card(facts),
        args.bundle / "metadata.json": json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    _publish(made)


def words_of(folder: Path) -> dict[str, Any]:
    """Return the words of the card: the bundle's own, else those of the known bundle of its name."""
    own = Bundle(folder).paper.get("card")
    return own or Bundle.open(folder.resolve().name).paper["card"]


def _publish(files: dict[Path, bytes | str]) -> None:
    """Write all files or none."""
    content = {path: made.encode() if isinstance(made, str) else made for path, made in files.items()}
    publish_together([(path, lambda tmp, made=made: tmp.write_bytes(made)) for path, made in content.items()])


def mean_dice(scores: Path) -> dict[str, object]:
    """Return mean Dice and its interval by method, with n and data named."""
    read = side_by_side([scores], [NETWORK])
    dice = {name: method["metrics"]["dsc"] for name, method in read.summaries.items()}
    return {
        "data": "simulated scans of unseen subjects (phantom)" if read.simulated else read.data,
        "cases": read.summaries[NETWORK]["n"],
        "mean_dice": {
            name: {"mean": round(d["mean"], 3), "ci95": [round(v, 3) for v in d["ci95"]]} for name, d in dice.items()
        },
    }


def describe(args: argparse.Namespace, metadata: dict[str, Any], texts: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return the facts of trained weights; every number comes from a file of the run or the scores."""
    read = side_by_side([args.scores], [NETWORK])
    epochs = read_curves(args.run / "curves.csv")
    best = next(row for row in epochs if row["epoch"] == best_epoch(epochs))
    seconds = [json.loads(p.read_text(encoding="utf-8"))["seconds"] for p in args.predictions.glob("*/result.json")]
    with (args.scores / "per_case.csv").open(encoding="utf-8") as file:
        volumes = [float(row["lesion_ml_ref"]) for row in csv.DictReader(file)]
    split = metadata["training_split"]
    published = {name: row for paper in texts.get("published", ()) for name, row in published_rows(paper).items()}
    return {
        "simulated": read.simulated,
        "data": texts["data"].format(data=split["data"]),
        "split": f"{split['folds']}; {texts['split']}" if texts.get("split") else split["folds"],
        "n_cases": read.summaries[NETWORK]["n"],
        "n_subjects": read.summaries[NETWORK]["subjects"],
        "lesion_ml_range": (round(min(volumes), 1), round(max(volumes), 1)),
        "training_hours": round(sum(row["seconds"] for row in epochs) / 3600, 2),
        "training_device": f"{args.device}: {len(epochs)} epochs of {texts['epoch_is']}, "
        f"weights of epoch {best['epoch']:.0f} kept (validation Dice {best['val_dsc']:.3f})",
        "metrics": read.summaries,
        "published": published or None,
        "memory_gb": args.memory_gb,
        "seconds_per_case": round(sum(seconds) / len(seconds), 1),
        "weights": WEIGHTS,
        "weights_sha256": digest,
        "curves_figure": "docs/curves.png",
    }


def _card_facts(metadata: dict[str, Any], texts: dict[str, Any]) -> dict[str, Any]:
    facts = {
        "name": metadata["name"],
        "summary": metadata["description"],
        "intended_use": metadata["intended_use"],
        "not_intended_use": metadata["not_intended_use"].rstrip(".").split("; "),
        "inputs": [
            f"{key}: {m['name']}, {m['unit']}, values {m['value_range'][0]} to {m['value_range'][1]}"
            for key, m in metadata["modalities"].items()
        ],
        "references": metadata["references"],
        "cost": metadata.get("cost"),
    }
    return facts | {key: texts[key] for key in ("outputs", "training_command", "commands", "limits", "licence")}


if __name__ == "__main__":
    try:
        main()
    except IslesError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
