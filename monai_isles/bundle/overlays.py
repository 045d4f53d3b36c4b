"""The configs of a cross-validation: the bundle's own under overlays and single settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_isles.errors import refused
from monai_isles.io.publish import publish_json

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

TRAIN, INFERENCE, PAPER = "train.json", "inference.json", "paper.json"
OWNED = ("bundle_root", "output_dir", "dataset_dir", "data_list", "section", "weights", "fold", "held_out")
_PROGRAMS = ("initialize", "run", "training", "finalize")


def find_config(bundle: Path, name: str) -> Path:
    """Return a config file of the bundle, flat or in the specification's layout.

    Raises:
        IslesError: ``E-XVAL-01`` when the bundle has no file of this plain name.
    """
    places = (bundle / name, bundle / "configs" / name)
    found = next((path for path in places if path.is_file()), None)
    if found is None or Path(name).name != name:
        known = {path.name for place in places for path in place.parent.glob("*.json")} | _rows(bundle)
        raise refused("E-XVAL-01", where=f"{bundle}: {name}", found=", ".join(sorted(known)) or "none")
    return found


def read_paper(bundle: Path) -> dict[str, Any]:
    """Return ``paper.json`` of a bundle: published rows, rows to train, words of the card; empty without one."""
    places = (bundle / PAPER, bundle / "configs" / PAPER)
    found = next((path for path in places if path.is_file()), None)
    return {} if found is None else json.loads(found.read_text(encoding="utf-8"))


def _rows(bundle: Path) -> set[str]:
    return {str(row["key"]) for row in read_paper(bundle).get("rows", ()) if {"use", "settings"} & set(row)}


def row_values(paper: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids that a row of ``paper.json`` changes: the named settings it uses, then its own."""
    values: dict[str, Any] = {}
    for name in row.get("use", ()):
        values |= deepcopy(paper["settings"][name])
    return values | deepcopy(row.get("settings", {}))


def overlay_values(bundle: Path, name: str) -> dict[str, Any]:
    """Return the ids that one overlay changes: those of a file of the bundle, or of a row of its ``paper.json``.

    Args:
        name: of a file, ``small.json``, or the key of a row that has settings, ``table5_fo``.
    Raises:
        IslesError: ``E-XVAL-01`` when the bundle has neither.
    Source: ours; ``tests/bundle/test_overlays.py``.
    """
    paper = read_paper(bundle)
    row = next((row for row in paper.get("rows", ()) if row["key"] == name and name in _rows(bundle)), None)
    return _read(find_config(bundle, name)) if row is None else row_values(paper, row)


def overlay_file(bundle: Path, name: str, folder: Path) -> Path:
    """Return the file of an overlay; a row of ``paper.json`` is written to ``folder/<key>.json`` first."""
    if Path(name).suffix == ".json":
        return find_config(bundle, name)
    publish_json(folder / f"{name}.json", overlay_values(bundle, name))
    return folder / f"{name}.json"


def training_config(bundle: Path, overlays: Sequence[str], settings: Mapping[str, object]) -> ConfigParser:
    """Return ``train.json`` under the overlays and settings, unresolved.

    Args:
        overlays: names of files or rows of the bundle, later ones win.
        settings: value by id, as in the bundle's command line; they win over all files.
    Raises:
        IslesError: ``E-XVAL-01``, ``E-XVAL-02`` an id that neither config has, ``E-XVAL-03`` one the folds decide.
    """
    from monai.bundle import ConfigParser
    from monai.bundle.utils import merge_kv

    changed = [overlay_values(bundle, name) for name in overlays]
    plain = {name: ConfigParser(_read(find_config(bundle, name))) for name in (TRAIN, INFERENCE)}
    _require_free([*(key for values in changed for key in values), *settings])
    _require_known(settings, list(plain.values()))
    config = _under(bundle, changed)
    for key, value in _fitting(settings.items(), config):
        merge_kv(config, key, value)
    return config


def _under(bundle: Path, changed: Sequence[Mapping[str, Any]]) -> ConfigParser:
    """Return ``train.json`` merged with overlays, as ``monai.bundle run`` merges a list of config files."""
    from monai.bundle import ConfigParser
    from monai.bundle.utils import merge_kv

    config = ConfigParser(_read(find_config(bundle, TRAIN)))
    for key, value in (pair for values in changed for pair in deepcopy(values).items()):
        merge_kv(config, key, value)
    return config


def inference_changes(bundle: Path, overlays: Sequence[str], settings: Mapping[str, object]) -> dict[str, Any]:
    """Return what the overlays and settings make of the ids of ``inference.json``: the network that was trained has to
    be the one that predicts.

    An id counts where ``inference.json`` has its parent; programs (``run`` and its like) stay.
    """
    from monai.bundle import ConfigParser
    from monai.bundle.utils import merge_kv

    config = ConfigParser(_read(find_config(bundle, INFERENCE)))
    pairs = [pair for name in overlays for pair in overlay_values(bundle, name).items()]
    changed: dict[str, Any] = {}
    for key, value in _fitting([*pairs, *settings.items()], config):
        top = _path(key)[0]
        if top not in _PROGRAMS:
            merge_kv(config, key, deepcopy(value))
            changed[top] = config[top]
    return changed


def training_settings(bundle: Path, overlays: Sequence[str], settings: Mapping[str, object]) -> dict[str, object]:
    """Return those settings that concern ``train.json`` under its overlays; the others are for the prediction alone."""
    return dict(_fitting(settings.items(), _under(bundle, [overlay_values(bundle, name) for name in overlays])))


def _read(path: Path) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    return ConfigParser.load_config_file(str(path))


def _path(key: str) -> list[str]:
    return key.removeprefix("+").replace("::", "#").split("#")


def _fitting(pairs: Iterable[tuple[str, object]], config: ConfigParser) -> Iterator[tuple[str, object]]:
    """Yield the pairs that have a place in ``config``, judged after the earlier pairs were applied."""
    for key, value in pairs:
        path = _path(key)
        if path[0] in config and "#".join(path[:-1]) in config:
            yield key, value


def _require_free(keys: Sequence[str]) -> None:
    taken = [key for key in keys if _path(key)[0] in OWNED]
    if taken:
        raise refused(
            "E-XVAL-03", where=", ".join(taken), found=f"set by hand; the cross-validation sets {', '.join(OWNED)}"
        )


def _require_known(settings: Mapping[str, object], configs: Sequence[ConfigParser]) -> None:
    unknown = [key for key in settings if not any("#".join(_path(key)) in config for config in configs)]
    if unknown:
        known = sorted({str(key) for config in configs for key in config.get()})
        raise refused("E-XVAL-02", where=f"--set {', '.join(unknown)}", found=f"settings {', '.join(known)}")
