"""Write a bundle's model card and the measured part of its metadata from a training run and its scores.

``python tools/model_card.py bundles/clerigues --run RUN --scores SCORES --predictions PREDICTIONS --device WORDS``
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

from monai_isles.io import publish_json, publish_text, sha256_of
from monai_isles.reports import model_card, png_bytes, published_rows, read_curves, training_curves
from monai_isles.reports.scores import side_by_side

NETWORK = "these weights"


def main() -> None:
    """Copy the weights and the curves into the bundle, then write README.md and metadata.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="output folder of the training")
    parser.add_argument("--scores", type=Path, required=True, help="output folder of evaluate on unseen cases")
    parser.add_argument("--predictions", type=Path, required=True, help="output folder of predict on those cases")
    parser.add_argument("--device", required=True, help="what it was trained on, in words")
    parser.add_argument("--memory-gb", required=True, help="peak memory of predict, as measured")
    parser.add_argument("--note", action="append", default=[], help="a sentence the reader must know")
    args = parser.parse_args()
    weights = args.bundle / "models/model.pt"
    weights.parent.mkdir(exist_ok=True)
    shutil.copyfile(args.run / "model.pt", weights)
    publish_text(args.bundle / "docs/curves.csv", (args.run / "curves.csv").read_text(encoding="utf-8"))
    figure = args.bundle / "docs/curves.png"
    figure.write_bytes(png_bytes(training_curves(read_curves(args.bundle / "docs/curves.csv"))))
    facts = describe(args, sha256_of(weights))
    publish_text(args.bundle / "README.md", model_card(facts))
    metadata = json.loads((args.bundle / "metadata.json").read_text(encoding="utf-8"))
    metadata |= {"weights_sha256": facts["weights_sha256"], "eval_metrics": measured(args.scores)}
    publish_json(args.bundle / "metadata.json", metadata)


def measured(scores: Path) -> dict[str, object]:
    """Return mean Dice and its interval by method, with n and data named."""
    methods = side_by_side([scores], [NETWORK]).summaries
    dice = {name: method["metrics"]["dsc"] for name, method in methods.items()}
    return {
        "data": "simulated scans of unseen subjects (phantom)",
        "cases": methods[NETWORK]["n"],
        "mean_dice": {
            name: {"mean": round(d["mean"], 3), "ci95": [round(v, 3) for v in d["ci95"]]} for name, d in dice.items()
        },
    }


def _rounded(dice: dict[str, object]) -> dict[str, object]:
    return {"mean": round(dice["mean"], 3), "ci95": [round(value, 3) for value in dice["ci95"]]}


def describe(args: argparse.Namespace, digest: str) -> dict[str, object]:
    """Return the facts of the card; every number comes from a file of the run or the scores."""
    metadata = json.loads((args.bundle / "metadata.json").read_text(encoding="utf-8"))
    methods = side_by_side([args.scores], [NETWORK]).summaries
    with (args.run / "curves.csv").open(encoding="utf-8") as file:
        epochs = list(csv.DictReader(file))
    seconds = [json.loads(p.read_text(encoding="utf-8"))["seconds"] for p in args.predictions.glob("*/result.json")]
    with (args.scores / "per_case.csv").open(encoding="utf-8") as file:
        volumes = [float(row["lesion_ml_ref"]) for row in csv.DictReader(file)]
    best = min(epochs, key=lambda row: float(row["val_l1_error"]))
    return {
        "name": metadata["name"],
        "summary": metadata["description"],
        "simulated": True,
        "intended_use": metadata["intended_use"],
        "not_intended_use": metadata["not_intended_use"].rstrip(".").split("; "),
        "inputs": [
            f"{key}: {m['name']}, {m['unit']}, values {m['value_range'][0]} to {m['value_range'][1]}"
            for key, m in metadata["modalities"].items()
        ],
        "outputs": [
            "`lesion.nii.gz`: 0 and 1, on the input's own grid",
            "`probability.nii.gz`: 0 to 1",
            "`uncertainty.nii.gz`: standard deviation of the lesion probability over windows and dropout passes",
            "`result.json`: volume in ml, settings, SHA-256 of the weights; `report.html`: the page to look at",
        ],
        "data": f"phantom of this package: {metadata['training_split']['data']} for training, others for the scores",
        "split": metadata["training_split"]["folds"] + "; fold 0 chose the epoch, folds 1 to 4 trained (48 scans)",
        "n_cases": methods[NETWORK]["n"],
        "n_subjects": methods[NETWORK]["subjects"],
        "lesion_ml_range": (round(min(volumes), 1), round(max(volumes), 1)),
        "training_command": "python -m monai.bundle run training --config_file bundles/clerigues/train.json",
        "training_hours": round(sum(float(row["seconds"]) for row in epochs) / 3600, 2),
        "training_device": f"{args.device}: {len(epochs)} epochs of {4000 * 48} patches, "
        f"weights of epoch {best['epoch']} kept (validation Dice {float(best['val_dsc']):.3f})",
        "metrics": methods,
        "published": published_rows("clerigues"),
        "memory_gb": args.memory_gb,
        "seconds_per_case": round(sum(seconds) / len(seconds), 1),
        "weights": "models/model.pt",
        "weights_sha256": digest,
        "curves_figure": "docs/curves.png",
        "commands": {
            "Train": "python -m monai.bundle run training --config_file bundles/clerigues/train.json",
            "Predict": "monai-isles predict --bundle bundles/clerigues CASE_DIR --out DIR",
            "Score": "monai-isles evaluate --pred DIR --ref DATA_DIR --out SCORES --baseline",
            "Share": "monai-isles export bundles/clerigues --out DIR",
        },
        "limits": [
            "Trained on simulated scans alone: unfit for patients until trained and evaluated on real data.",
            "Maps in other units than those above, or of other software, need a training of their own.",
            "The exported TorchScript and ONNX graphs hold the network without prediction dropout.",
        ],
        "notes": args.note,
        "licence": "Apache-2.0, weights included.",
        "references": metadata["references"],
    }


if __name__ == "__main__":
    main()
