"""Open a bundle by name or path, read its configs with overlays and settings, and check metadata and weights."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from monai_isles.bundle.configs import judge_config, logging_findings
from monai_isles.errors import IslesError, refused
from monai_isles.io.archives import unpack_zip
from monai_isles.io.findings import ERROR, WARNING, Finding, as_finding, finding, refuse
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_json

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

Use = Literal["train", "inference"]
TRAIN, INFERENCE, METADATA, PAPER = "train.json", "inference.json", "metadata.json", "paper.json"
WEIGHTS = "models/model.pt"
OWNED = ("bundle_root", "output_dir", "dataset_dir", "data_list", "section", "weights", "fold", "held_out")
TRAINED = "training_intensities"
OF_WEIGHTS, OTHER_WEIGHTS = ("eval_metrics", "training_split", TRAINED), "other_weights"
_PROGRAMS = ("initialize", "run", "training", "finalize")
_CONFIGS, _NOT_RUN = (".json", ".yaml", ".yml"), (METADATA, "data_list.json")


def known_bundles() -> dict[str, Path]:
    """Return the bundles known by name: those of a package ``monai_isles_bundles``, then of the source tree."""
    spec = importlib.util.find_spec("monai_isles_bundles")
    homes = [Path(home) for home in (spec.submodule_search_locations or [])] if spec is not None else []
    homes.append(Path(__file__).parents[2] / "bundles")
    results = [path for home in reversed(homes) if home.is_dir() for path in sorted(home.iterdir())]
    return {path.name: path for path in results if Bundle(path).find(INFERENCE)}


@dataclass(frozen=True)
class Bundle:
    """Hold a bundle in the source layout (configs beside ``metadata.json``) or the specification's (``configs/``).

    Args:
        root: its folder.
        overlays: names of config files of the bundle, ``small.json``, of rows of its ``paper.json`` that have settings,
            ``table5_fo``, or of sets of ``settings`` there, ``cascade``; later ones win.
        settings: value by id, as on the bundle's command line; they win over all files.

    >>> Bundle.open("clerigues").metadata["name"]
    'Clerigues CT perfusion core'
    """

    root: Path
    overlays: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def open(
        cls,
        name_or_path: str | Path | Bundle,
        *,
        overlays: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> Bundle:
        """Return the bundle at a path that exists, else the known bundle of this name; nothing is read yet.

        An opened bundle gets the overlays and settings above its own. A zip, as ``export`` packs it, is judged and
        unpacked to a temporary folder, once per process.

        Raises: only for a zip: ``E-FILE-17`` damaged, ``E-SAFE-*`` forbidden content.
        """
        if isinstance(name_or_path, Bundle):
            opened = name_or_path
            above = {**opened.settings, **(settings or {})}
            return replace(opened, overlays=(*opened.overlays, *overlays), settings=above)
        root = _place_of(name_or_path)
        if _is_zip(root):
            root = _unpack_once(root.resolve(), root.stat().st_mtime_ns)
        return cls(root, tuple(overlays), dict(settings or {}))

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return self.root.resolve().name

    @property
    def weights(self) -> Path:
        """Return the path of its weights, which may be absent; an overlay ``spes.json`` may have ``models/spes.pt``."""
        own = [self.root / f"models/{Path(name).stem}.pt" for name in reversed(self.overlays)]
        return next((path for path in own if path.is_file()), self.root / WEIGHTS)

    @property
    def with_shipped_settings(self) -> Bundle:
        """Return the bundle with ``shipped.json`` (width, threshold, calibration of its weights), if there is one."""
        name = "shipped.json" if self.weights == self.root / WEIGHTS else f"shipped_{self.weights.stem}.json"
        return replace(self, overlays=(name, *self.overlays)) if self.find(name) else self

    @property
    def metadata(self) -> dict[str, Any]:
        """Return ``metadata.json``, empty if there is none; its ``variants`` hold the differences of other weights.

        Raises: ``E-EXP-11`` when it is no JSON object.
        """
        content = self._object(METADATA)
        others = content.get("variants")
        return content | (others.get(self.weights.stem, {}) if isinstance(others, dict) else {})

    @property
    def paper(self) -> dict[str, Any]:
        """Return ``paper.json``: published rows, rows to train, words of the card; empty without one."""
        return self._object(PAPER)

    @property
    def weights_sha256(self) -> str | None:
        """Return the checksum of its weights in its metadata, None without one."""
        return self.metadata.get("weights_sha256")

    def metadata_of(self, weights_sha256: Sequence[str]) -> dict[str, Any]:
        """Return the metadata; without ``OF_WEIGHTS``, and with ``other_weights``, if they name other weights."""
        content = self.metadata
        named = content.get("weights_sha256")
        if not named or set(weights_sha256) == {named}:
            return content
        return {key: value for key, value in content.items() if key not in OF_WEIGHTS} | {OTHER_WEIGHTS: True}

    def find(self, name: str) -> Path | None:
        """Return the file of this name in the folder of the configs, or None."""
        places = (self.root / name, self.root / "configs" / name)
        return next((path for path in places if path.is_file()), None) if Path(name).name == name else None

    def file(self, name: str) -> Path:
        """Return a config file.

        Raises: ``E-INF-10`` no bundle or no ``inference.json``, ``E-XVAL-01`` no other config of this plain name.
        """
        path = self.find(name)
        if path is not None:
            return path
        if name == INFERENCE or not self.root.exists():
            known = "" if self.root.exists() else f"; bundles with a name: {', '.join(sorted(known_bundles()))}"
            raise refused("E-INF-10", where=str(self.root), found=f"no inference.json{known}")
        names = {path.name for path in self._files() if path.suffix == ".json"} | self._rows().keys()
        names -= {INFERENCE, METADATA, PAPER}
        raise refused("E-XVAL-01", where=f"{self.root}: {name}", found=", ".join(sorted(names)) or "none")

    def overlay(self, name: str) -> dict[str, Any]:
        """Return the ids that one overlay changes: a row uses named settings of ``paper.json``, then its own.

        Raises: ``E-XVAL-01`` neither a file nor a row or set of this name.
        """
        row = self._rows().get(name)
        if row is None:
            return _read(self.file(name))
        shared = self.paper.get("settings", {})
        values = [*(shared[item] for item in row.get("use", ())), row.get("settings", {})]
        return {key: deepcopy(value) for item in values for key, value in item.items()}

    def overlay_file(self, name: str, folder: Path) -> Path:
        """Return the file of an overlay; a row of ``paper.json`` is written to ``folder/<key>.json`` first."""
        if Path(name).suffix == ".json":
            return self.file(name)
        publish_json(folder / f"{name}.json", self.overlay(name))
        return folder / f"{name}.json"

    def config(self, use: Use) -> ConfigParser:
        """Return a config with overlays and settings applied, judged but not built.

        For ``inference.json`` only those ids of overlays and settings count whose parent it has, and no programs
        (such as ``run``). So the network that was trained is the one that predicts.

        Raises: ``E-XVAL-02`` an id that neither config has, ``E-XVAL-03`` one set by the folds, ``E-SAFE-*`` forbidden
        content, and others.
        """
        main, changed = self.file(f"{use}.json"), [self.overlay(name) for name in self.overlays]
        refuse(self.judge())
        if use == "train":
            self._require_sound(changed)
            config = self._training_config(changed)
            _merge(config, _fitting(self.settings.items(), config))
            return config
        return _parser(lay_over(_read(main), [*changed, self.settings]))

    def training_settings(self) -> dict[str, object]:
        """Return those settings that ``train.json`` has with its overlays; the others affect only the prediction."""
        config = self._training_config([self.overlay(name) for name in self.overlays])
        return dict(_fitting(self.settings.items(), config))

    def judge(self) -> list[Finding]:
        """Return the findings about every config and ``logging.conf``; nothing is run."""
        files = self._files()
        configs = [p for p in files if p.suffix in _CONFIGS and p.name not in _NOT_RUN]
        findings = [item for path in configs for item in judge_config(path)]
        findings += [item for p in files if p.name == "logging.conf" for item in logging_findings(p)]
        for script in sorted(self.root.rglob("*.py"))[:1]:
            part = "Python files are part of this bundle"
            findings.append(finding("E-SAFE-14", WARNING, where=str(script), found=part))
        if not configs:
            text = {"found": "no .json or .yaml config", "fix": "give the folder of a bundle"}
            findings.append(finding("E-FILE-19", ERROR, where=str(self.root), **text))
        return findings

    def fingerprint(self, weights: Sequence[Path] = ()) -> str:
        """Return the SHA-256 of its configs, calibrations and weights, or of other weights."""
        digest = hashlib.sha256()
        configs = [path for path in self._files() if path.suffix == ".json"]
        configs += sorted(self.root.glob("models/*.json"))  # calibrations
        for path in (*configs, *(weights or [self.weights])):
            digest.update(sha256_of(path).encode() if path.is_file() else b"none")
        return digest.hexdigest()

    def _files(self) -> list[Path]:
        folders = [folder for folder in (self.root, self.root / "configs") if folder.is_dir()]
        return sorted(path for folder in folders for path in folder.iterdir() if path.is_file())

    def _object(self, name: str) -> dict[str, Any]:
        path = self.find(name)
        if path is None:
            return {}
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise refused("E-EXP-11", where=str(path), found=str(error)) from error
        if not isinstance(content, dict):
            raise refused("E-EXP-11", where=str(path), found=f"a {type(content).__name__}, not an object")
        return content

    def _rows(self) -> dict[str, Mapping[str, Any]]:
        """Return the rows of ``paper.json`` that change settings by key, and its sets of settings by name."""
        paper = self.paper
        rows = {str(row["key"]): row for row in paper.get("rows", ()) if {"use", "settings"} & set(row)}
        return {name: {"settings": values} for name, values in paper.get("settings", {}).items()} | rows

    def _training_config(self, changed: Sequence[Mapping[str, Any]]) -> ConfigParser:
        """Return ``train.json`` merged with overlays, as ``monai.bundle run`` merges a list of config files."""
        config = _parser(_read(self.file(TRAIN)))
        _merge(config, [pair for values in changed for pair in values.items()])
        return config

    def _require_sound(self, changed: Sequence[Mapping[str, Any]]) -> None:
        keys = [key for values in (*changed, self.settings) for key in values]
        taken = [key for key in keys if _path(key)[0] in OWNED]
        if taken:
            result = f"set by hand; the cross-validation sets {', '.join(OWNED)}"
            raise refused("E-XVAL-03", where=", ".join(taken), found=result)
        configs = [_parser(_read(self.file(name))) for name in (TRAIN, INFERENCE)]
        unknown = [key for key in self.settings if not any("#".join(_path(key)) in config for config in configs)]
        if unknown:
            known = sorted({str(key) for config in configs for key in config.get()})
            raise refused("E-XVAL-02", where=f"--set {', '.join(unknown)}", found=f"settings {', '.join(known)}")


def _parser(content: dict[str, Any]) -> ConfigParser:
    from monai.bundle import ConfigParser

    return ConfigParser(content)


def _read(path: Path) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    return ConfigParser.load_config_file(str(path))


def _path(key: str) -> list[str]:
    return key.removeprefix("+").replace("::", "#").split("#")


def _fitting(pairs: Iterable[tuple[str, object]], config: ConfigParser) -> Iterator[tuple[str, object]]:
    """Yield the pairs that have a place in ``config``, checked after the earlier pairs were applied."""
    for key, value in pairs:
        path = _path(key)
        if path[0] in config and "#".join(path[:-1]) in config:
            yield key, value


def lay_over(content: dict[str, Any], changed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a config with those changed ids that have a place in it; programs (such as ``run``) are not changed."""
    config = _parser(content)
    pairs = [pair for values in changed for pair in values.items()]
    _merge(config, _fitting([pair for pair in pairs if _path(pair[0])[0] not in _PROGRAMS], config))
    return cast(dict[str, Any], config.get())


def _merge(config: ConfigParser, pairs: Iterable[tuple[str, object]]) -> None:
    from monai.bundle.utils import merge_kv

    for key, value in pairs:
        merge_kv(config, key, deepcopy(value))


def check_bundle(path: str | Path, *, unpack: str | Path | None = None) -> list[Finding]:
    """Return every finding about a bundle: a name, a folder, a config, or a zip, moved to ``unpack`` if sound."""
    path = _place_of(path)
    if not _is_zip(path):
        if unpack is not None:
            raise refused("E-USE-70", where="--unpack", found=f"{path} is no zip")
        return judge_config(path) if path.is_file() else _judge_all(Bundle(path))
    with tempfile.TemporaryDirectory(prefix="monai-isles-") as aside:
        try:
            findings = _unpack_and_judge(path, Path(aside))[1]
        except IslesError as error:
            findings = [as_finding(error)]
    if unpack is not None and not any(item.severity == ERROR for item in findings):
        unpack_zip(path, unpack)
    return findings


def verbatim(path: str | Path) -> str:
    """Return a path as a config holds it: MONAI reads ``#`` as the separator of ids and would turn it into ``::``."""
    text = str(path)
    return f"${text!r}".replace("#", r"\x23").replace("@", r"\x40") if "#" in text else text


def _place_of(name_or_path: str | Path) -> Path:
    """Return an existing path unchanged, else the folder of the known bundle of this name."""
    path = Path(name_or_path)
    return path if path.exists() else known_bundles().get(str(name_or_path), path)


def _is_zip(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".zip"


@lru_cache(maxsize=8)
def _unpack_once(path: Path, changed_ns: int) -> Path:
    """Unpack and judge a zipped bundle; its folder is deleted when this process ends, not when a fork does."""
    aside, owner = tempfile.mkdtemp(prefix="monai-isles-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(aside, ignore_errors=True)

    atexit.register(remove)
    root, findings = _unpack_and_judge(path, Path(aside))
    refuse(findings)
    return root


def _unpack_and_judge(path: Path, aside: Path) -> tuple[Path, list[Finding]]:
    """Return the folder of an archive's bundle, its root or the only folder in it, and findings under its name."""
    place = aside / path.stem
    unpack_zip(path, place)
    inside = [part for part in place.iterdir() if part.name != "__MACOSX"]  # what macOS adds to a zip
    root = inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name != "configs" else place
    return root, [replace(item, where=item.where.replace(str(root), str(path))) for item in _judge_all(Bundle(root))]


def _judge_all(bundle: Bundle) -> list[Finding]:
    """Judge the configs, and the weights if there are any."""
    from monai_isles.io.weights import load_state

    findings = bundle.judge()
    try:
        if bundle.weights.is_file():
            load_state(bundle.weights, sha256=bundle.weights_sha256)
    except IslesError as error:
        findings.append(as_finding(error))
    return findings
