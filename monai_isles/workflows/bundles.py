"""Open or list the known bundles, without torch and MONAI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_isles.bundle.bundle import INFERENCE, Bundle, known_bundles


def load_bundle(name: str | Path, *, overlays: Sequence[str] = ()) -> Bundle:
    """Open a bundle by its name, its folder or its zip.

    Raises: ``E-INF-10``.

    >>> load_bundle("clerigues").weights.name
    'model.pt'
    """
    bundle = Bundle.open(name, overlays=overlays)
    bundle.file(INFERENCE)
    return bundle


def list_bundles() -> list[dict[str, Any]]:
    """Return the facts for choosing among the bundles known by name: one dictionary each, sorted by name.

    Units: of an input as its ``unit`` says; ``weights_mb`` in MB, None where the bundle carries no weights.

    >>> [one["name"] for one in list_bundles()][:2]
    ['abulnaga', 'clerigues']
    """
    return [describe(name, Bundle(root)) for name, root in sorted(known_bundles().items())]


def describe(name: str, bundle: Bundle) -> dict[str, Any]:
    """Return the entry of one bundle in ``list_bundles``."""
    metadata, card = bundle.metadata, bundle.paper.get("card", {})
    here, read = bundle.weights.is_file(), json.loads(bundle.file(INFERENCE).read_bytes())
    return {
        "name": name,
        "title": metadata.get("name", name),
        "task": metadata.get("task", ""),
        "inputs": {key: item.get("unit", "") for key, item in metadata.get("modalities", {}).items()},
        "optional": read.get("optional", []),
        "training_only": [key for key in metadata.get("modalities", {}) if key not in read["modalities"]],
        "weights": "shipped" if here else "none needed" if "bare" in card else "none: train it first",
        "weights_mb": round(bundle.weights.stat().st_size / 1e6, 2) if here else None,
        "weights_sha256": bundle.weights_sha256 if here else None,
        "measured": metadata.get("eval_metrics"),
        "variants": {key: item.get("eval_metrics") for key, item in metadata.get("variants", {}).items()},
        "licence": card.get("licence", ""),
        "folder": str(bundle.root),
    }
