"""``monai-isles bundles``: list the known bundles and describe each."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from monai_isles.errors import EXIT_DONE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb; there are none."""


def run(args: argparse.Namespace) -> int:
    """Print one paragraph per bundle, or all as JSON; return 0."""
    from monai_isles.workflows.bundles import list_bundles

    bundles = list_bundles()
    print(json.dumps(bundles, indent=2, ensure_ascii=False) if args.json else "\n\n".join(map(_text, bundles)))
    return EXIT_DONE


def _text(bundle: Mapping[str, Any]) -> str:
    notes = dict.fromkeys(bundle["optional"], "optional") | dict.fromkeys(bundle["training_only"], "training only")
    facts = {key: ", ".join(filter(None, (unit, notes.get(key)))) for key, unit in bundle["inputs"].items()}
    inputs = ", ".join(f"{key} ({fact})" if fact else key for key, fact in facts.items())
    weights = bundle["weights"]
    if bundle["weights_mb"] is not None:
        weights += f", {bundle['weights_mb']} MB, SHA-256 {bundle['weights_sha256'] or 'unknown'}"
    rows = {"task": bundle["task"], "inputs": inputs, "weights": weights, "measured": _dice_text(bundle["measured"])}
    rows["licence"] = bundle["licence"]
    rows |= {f"--overlay {name}.json": _dice_text(result) for name, result in bundle["variants"].items()}
    lines = (f"  {label:<8} {text}" for label, text in rows.items())
    return "\n".join([f"{bundle['name']}: {bundle['title']}", *lines])


def _dice_text(metrics: Mapping[str, Any] | None) -> str:
    """Return the mean Dice of the first method, which is the bundle's own."""
    if not metrics or not metrics.get("mean_dice"):
        return "nothing of these weights"
    dice = next(iter(metrics["mean_dice"].values()))
    low, high = dice["ci95"]
    return f"mean Dice {dice['mean']} (95 % interval {low} to {high}), n {metrics['cases']}, {metrics['data']}"
