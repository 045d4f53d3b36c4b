"""Add the files that MONAI's model zoo and the Hugging Face Hub need to an exported bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from monai_isles.bundle.bundle import INFERENCE, TRAIN, Bundle
from monai_isles.errors import refused
from monai_isles.io.payload import sha256_of

LARGE_BYTES = 25 * 10**6
_LEAST: dict[str, Any] = {"patches_per_case": 16, "validation_patches_per_case": 16, "mc_passes": 1}
_HEADINGS = {
    "Metrics": "Performance",
    "Limits": "Limitations",
    "Licence": "License",
    "Commands": "MONAI Bundle Commands",
    "Memory, time, weights": "System Configuration",
    "Training": "Training configuration",
}
_NONE_SHIPPED = "**No trained weights are shipped with this bundle: train it before use.**"
_REPLACED = "> These weights (SHA-256 {}) replace the released ones, whose results, threshold and checksum follow.\n\n"
_OWN = "**These weights (SHA-256 {}) are the exporter's own: no number here is theirs.**"
_INPUTS = re.compile(r"(?<=^Inputs:\n).*?(?=\n\nOutputs:)", re.MULTILINE | re.DOTALL)
TEMPLATES = Path(__file__).parent / "templates"


def honest_card(card: str, metadata: Mapping[str, Any], *, shipped: bool) -> str:
    """Return the card of an export, true to the weights inside (``shipped``: there are some), under the zoo's headings.

    Results of a card that names other weights are said to be theirs, and inputs that an overlay changed are listed.
    """
    weights_sha256 = metadata["weights_sha256"]
    measured = f"| SHA-256 | `{weights_sha256}` |" in card
    named = {key: f"- {key}: {what['name']}, {what['unit']}" for key, what in metadata["modalities"].items()}
    listed = _INPUTS.search(card)
    if listed and set(re.findall(r"^- (\w+): ", listed[0], re.MULTILINE)) != set(named):
        card = card.replace(listed[0], "\n".join(named.values()))
    bare = shipped and _NONE_SHIPPED in card
    if bare:
        card = card.replace(_NONE_SHIPPED, _OWN.format(weights_sha256))
        row = f"| Weights | `models/model.pt` |\n| SHA-256 | `{weights_sha256}` |"
        card = card.replace("| Weights | none shipped |", row)
        unknown = "## Metrics\nNothing was measured with these weights; `monai-isles evaluate` scores them.\n"
        card = re.sub(r"## Metrics\n.*?\n(?=\n## |\Z)", lambda _: unknown, card, flags=re.DOTALL)
    card = re.sub(r"(?<=^## Commands\n).*?(?=^## |\Z)", _of_this_folder, card, flags=re.MULTILINE | re.DOTALL)
    for ours, theirs in _HEADINGS.items():
        card = re.sub(rf"^## {re.escape(ours)}$", f"## {theirs}", card, flags=re.MULTILINE)
    return (_REPLACED.format(weights_sha256) if shipped and not measured and not bare else "") + card


def _of_this_folder(commands: re.Match[str]) -> str:
    """Return the commands for the exported folder: a bundle's name would mean the one that is installed."""
    text = re.sub(r"Share:\n```\n.*?```\n", "", commands[0], flags=re.DOTALL)  # from the source layout alone
    text = re.sub(r"bundles/\w+/(?=\w+\.json)", "configs/", text)
    text = re.sub(r"bundles/\w+|(?<=--bundle )\w+", ".", text)
    text = text.replace("python tools/reproduce.py", "python -m monai_isles.papers.reproduce")
    return f"Run these in the folder of the bundle.\n\n{text}"


def hub_card(card: str, metadata: Mapping[str, Any]) -> str:
    """Return the card with the front matter that the Hub reads: licence, library, tags, and the results measured."""
    tags = ["monai", "medical", "image-segmentation", "stroke", *metadata.get("modalities", {})]
    front: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": tags,
        "metrics": ["dice"],
    }
    measured = metadata.get("eval_metrics") or {}
    if measured.get("mean_dice"):
        value = next(iter(measured["mean_dice"].values()))["mean"]
        result = {
            "task": {"type": "image-segmentation", "name": metadata["task"]},
            "dataset": {"type": "simulated", "name": f"{measured['data']}, n {measured['cases']}"},
            "metrics": [{"type": "dice", "name": "mean Dice", "value": value}],
        }
        front["model-index"] = [{"name": metadata["name"], "results": [result]}]
    written = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    linked = re.sub(r"\]\((?!https?:|#|docs/)", "](docs/", card)
    return f"---\n{written}---\n\n{linked}"


def unit_test(name: str, bundle: Bundle) -> str:
    """Return ``ci/unit_tests/test_<name>.py``: the bundle trains, evaluates and predicts once, by MONAI's workflows."""
    metadata, kind = bundle.metadata, bundle.config("train").get("phantom_kind")
    train, inference = (json.loads(bundle.file(file).read_bytes()) for file in (TRAIN, INFERENCE))
    least = _LEAST | {key: train.get("patch") for key in ("step", "validation_step")}
    small = (bundle.overlay("small.json") if bundle.find("small.json") else {}) | {"max_epochs": 1}
    small |= {key: value for key, value in least.items() if key in train or "patch" in train}
    infer: dict[str, Any] = {key: value for key, value in small.items() if key in inference}
    learns = "weights" in inference
    if learns:
        infer["handlers#0#_disabled_"] = True  # the small network has no weights
    phantom = {"cases": 2, "seed": 3, "kind": kind, "spacing_mm": 4.0} if kind else {
        "cases": 3, "seed": 5, "series": "ctp" in metadata["modalities"], "max_slices": 2,
    }  # fmt: skip
    return (TEMPLATES / "zoo_test.py.txt").read_text(encoding="utf-8").format(
        title=metadata["name"], name=name, small=small, infer=infer, phantom=phantom, learns=learns,
        title_case="".join(part.capitalize() for part in name.split("_")),
    )  # fmt: skip


def list_large_files(folder: Path, url: str | None) -> None:
    """Write ``large_files.yml`` where a file is over 25 MB: the zoo keeps those elsewhere."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size > LARGE_BYTES]
    if not files:
        return
    large = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    if url is None:
        raise refused("E-EXP-20", where=folder.name, found=", ".join(large))
    rows = [
        {"path": name, "url": f"{url.rstrip('/')}/{name}", "hash_val": sha256, "hash_type": "sha256"}
        for name, sha256 in large.items()
    ]
    (folder / "large_files.yml").write_text(yaml.safe_dump({"large_files": rows}, sort_keys=False), encoding="utf-8")
