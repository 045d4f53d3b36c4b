"""The configs of a cross-validation: the bundle's own under overlays and single settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_isles.errors import refused

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

TRAIN, INFERENCE = "train.json", "inference.json"
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
        raise refused(
            "E-XVAL-01",
            where=f"{bundle}: {name}",
            found=", ".join(sorted({path.name for place in places for path in place.parent.glob("*.json")})) or "none",
        )
    return found


def training_config(bundle: Path, overlays: Sequence[str], settings: Mapping[str, object]) -> ConfigParser:
    """Return ``train.json`` under the overlays and settings, unresolved.

    Args:
        overlays: names of files in the bundle, later ones win.
        settings: value by id, as in the bundle's command line; they win over all files.
    Raises:
        IslesError: ``E-XVAL-01``, ``E-XVAL-02`` an id that neither config has, ``E-XVAL-03`` one the folds decide.
    """
    from monai.bundle import ConfigParser
    from monai.bundle.utils import merge_kv

    files = [find_config(bundle, name) for name in (TRAIN, *overlays)]
    plain = {name: ConfigParser(_read(find_config(bundle, name))) for name in (TRAIN, INFERENCE)}
    _require_free([*(key for name in overlays for key in _read(find_config(bundle, name))), *settings])
    _require_known(settings, list(plain.values()))
    config = ConfigParser(ConfigParser.load_config_files([str(path) for path in files]))
    for key, value in _fitting(settings.items(), config):
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
    pairs = [pair for name in overlays for pair in _read(find_config(bundle, name)).items()]
    changed: dict[str, Any] = {}
    for key, value in _fitting([*pairs, *settings.items()], config):
        top = _path(key)[0]
        if top not in _PROGRAMS:
            merge_kv(config, key, deepcopy(value))
            changed[top] = config[top]
    return changed


def training_settings(bundle: Path, overlays: Sequence[str], settings: Mapping[str, object]) -> dict[str, object]:
    """Return those settings that concern ``train.json`` under its overlays; the others are for the prediction alone."""
    from monai.bundle import ConfigParser

    files = [str(find_config(bundle, name)) for name in (TRAIN, *overlays)]
    return dict(_fitting(settings.items(), ConfigParser(ConfigParser.load_config_files(files))))


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
