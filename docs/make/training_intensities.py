"""Write the intensities that a bundle was trained on into its metadata: per modality, over all training cases.

``python docs/make/training_intensities.py --bundle bundles/clerigues --data data/phantom_ct``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from monai_isles.bundle.bundle import TRAINED
from monai_isles.data import find_inputs
from monai_isles.inference.ischaemia import brain_facts
from monai_isles.io import publish_json, read_image
from monai_isles.modalities import PERFUSION_MAPS


def main(argv: Sequence[str] | None = None) -> None:
    """Record the smallest and largest median and 99th percentile in the brain over the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--data", required=True, help="data folder whose TRAINING cases the weights were trained on")
    args = parser.parse_args(argv)
    path = Path(args.bundle) / "metadata.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    keys = list(content["modalities"])
    facts: dict[str, list[dict[str, float]]] = {key: [] for key in keys}
    for case in find_inputs([Path(args.data)], section="training", keys=keys):
        images = {key: read_image(case.images[key], kind=key).data for key in keys}
        brain = sum(images[key] for key in PERFUSION_MAPS if key in images) > 0
        for key in keys:
            facts[key].append(brain_facts(images[key], brain))
    ends = {key: {name: _ends([one[name] for one in rows]) for name in rows[0]} for key, rows in facts.items()}
    publish_json(path, content | {TRAINED: ends})
    print(json.dumps({"cases": len(facts[keys[0]]), **ends}, indent=2))


def _ends(values: Sequence[float]) -> list[float]:
    return [float(f"{end(values):.4g}") for end in (min, max)]


if __name__ == "__main__":
    main()
