"""The bundle specification's layout: configs that find everything from the bundle's own folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from monai_isles.errors import IslesError

METADATA = "metadata.json"
CARD, LICENSE, WEIGHTS = "README.md", "LICENSE", "models/model.pt"
NEEDED = ("inference.json", "train.json", METADATA, CARD, LICENSE)
_OPTIONAL = {"logging.conf": "configs", "data_license.txt": "docs"}
_SIMULATED = "monai_isles.phantom.dataset_or_phantom"
_SMALL = {"folder": "data/phantom_ct_small", "cases": 2, "max_slices": 2}


def write_layout(source: Path, folder: Path, weights: Path) -> None:
    """Write ``configs``, ``docs``, ``models/model.pt`` and ``LICENSE`` of a flat bundle; the metadata comes later.

    The card moves into ``docs``, beside the figures it shows.

    Raises:
        IslesError: ``E-EXP-10`` when a config names a data list that is not there.
    """
    for part in ("configs", "docs", "models"):
        (folder / part).mkdir(parents=True)
    for path in sorted(source.glob("*.json")):
        if path.name != METADATA:
            config = portable(json.loads(path.read_text(encoding="utf-8")), path, folder / "configs")
            write_json(folder / "configs" / path.name, config)
    for name, part in _OPTIONAL.items():
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / part / name)
    for path in sorted(path for path in (source / "docs").glob("*") if path.is_file()):
        shutil.copyfile(path, folder / "docs" / path.name)
    card = (source / CARD).read_text(encoding="utf-8").replace("](docs/", "](")
    (folder / "docs" / CARD).write_text(card, encoding="utf-8")
    shutil.copyfile(source / LICENSE, folder / LICENSE)
    shutil.copyfile(weights, folder / WEIGHTS)


def settle(configs: Path, settings: Mapping[str, float]) -> None:
    """Put chosen values (threshold, smallest component) into the configs that predict and evaluate."""
    for path in (configs / "inference.json", configs / "evaluate.json"):
        if settings and path.is_file():
            write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **settings})


def portable(config: Mapping[str, object], path: Path, configs: Path) -> dict[str, object]:
    """Return a config whose paths start at the bundle's folder, and copy the data list it names into ``configs``.

    Results go to ``eval``, weights come from ``models/model.pt``. Where no data is named, prediction simulates a few
    scans of two slices, enough for a data list, and takes them from the only section they have.

    Raises:
        IslesError: ``E-EXP-10`` when the data list is not there.
    """
    out = dict(config)
    if "output_dir" in out:
        out["output_dir"] = "eval"
    if str(out.get("weights", "")).startswith("$@output_dir"):
        out["weights"] = "$@bundle_root + '/models/model.pt'"
    if isinstance(out.get("data_list"), str):
        out["data_list"] = f"configs/{_copied(str(out['data_list']), str(out.get('bundle_root', '.')), path, configs)}"
    if "bundle_root" in out:
        out["bundle_root"] = "."
    data = out.get("dataset_dir")
    if path.name == "inference.json" and isinstance(data, dict) and data.get("_target_") == _SIMULATED:
        out.update(dataset_dir={**data, **_SMALL}, section="training")
    return out


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON as the model zoo formats it: four spaces, order kept."""
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _copied(name: str, bundle_root: str, path: Path, configs: Path) -> str:
    """Copy the data list beside the configs; its path starts where ``bundle_root`` starts."""
    source = path.parent.joinpath(*[".."] * len(PurePosixPath(bundle_root).parts), name)
    if not source.is_file():
        raise IslesError("E-EXP-10", "data list of the bundle is missing", where=f"{path}: data_list",
                         found=f"{name}, looked for at {source.resolve()}",
                         fix="correct data_list, or set it to null")  # fmt: skip
    shutil.copyfile(source, configs / source.name)
    return source.name
