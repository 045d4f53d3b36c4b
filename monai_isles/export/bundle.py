"""Export a bundle: layout, weights, graphs, metadata, checksums and one zip, written aside and moved at once."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from monai_isles.bundle.bundle import INFERENCE, METADATA, OF_WEIGHTS, TRAIN, WEIGHTS, Bundle, lay_over
from monai_isles.errors import refused
from monai_isles.export.graph import build_network, load_network, write_graphs
from monai_isles.export.zoo import TEMPLATES, honest_card, hub_card, list_large_files, unit_test
from monai_isles.io.archives import pack_zip
from monai_isles.io.findings import refuse
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import folder_aside
from monai_isles.io.weights import load_state, publish_state
from monai_isles.modalities import MODALITIES

REQUIRED = (
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
    "required_packages_version", "task", "description", "authors", "copyright", "intended_use", "not_intended_use",
    "data_source", "data_type", "network_data_format",
)  # fmt: skip
TENSOR = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")
SIZE = re.compile(r"([1-9]\d*)\*n")
_VERSIONS = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}


def check_metadata(content: object, where: str) -> dict:
    """Return the metadata when it has every field that sharing a bundle needs.

    Source: fields required by MONAI's metadata schema 20240725 and by its model zoo, and the intended use.
    """
    if not isinstance(content, dict):
        raise refused("E-EXP-05", where=where, found=f"a JSON {type(content).__name__}, not an object")
    faults = [f"{key} is missing or empty" for key in REQUIRED if not content.get(key)]
    changes = content.get("changelog")
    if isinstance(changes, Mapping) and content.get("version") not in changes:
        faults.append(f"changelog has no entry for version {content.get('version')}")
    packages = content.get("required_packages_version")
    if isinstance(packages, Mapping):
        faults += [f"package {name} is not installed" for name in packages if installed_version(name) is None]
    elif packages:
        faults.append("required_packages_version is not an object")
    faults += _format_faults(content.get("network_data_format"))
    if faults:
        raise refused("E-EXP-05", where=where, found="; ".join(faults))
    return content


def complete_metadata(content: Mapping[str, Any], weights_sha256: str) -> dict[str, object]:
    """Return the metadata with the versions in use and the checksum, without results of other weights."""
    known = content.get("weights_sha256", weights_sha256)
    kept = {key: value for key, value in content.items() if known == weights_sha256 or key not in OF_WEIGHTS}
    packages = content["required_packages_version"]
    return {
        **{key: value for key, value in kept.items() if key != "variants"},
        **{key: installed_version(package) for key, package in _VERSIONS.items()},
        "required_packages_version": {name: installed_version(name) for name in packages},
        "weights_sha256": weights_sha256,
    }


def installed_version(package: str) -> str | None:
    """Return the version of an installed package without its build tag (2.10.0 for 2.10.0+cpu), None when missing."""
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return None


def _format_faults(formats: object) -> list[str]:
    if not isinstance(formats, Mapping):
        return []
    faults = []
    for side, name in (("inputs", "image"), ("outputs", "pred")):
        tensors = formats.get(side)
        tensor = tensors.get(name) if isinstance(tensors, Mapping) else None
        if not isinstance(tensor, Mapping):
            faults.append(f"network_data_format has no {side}#{name}")
            continue
        faults += [f"{side}#{name}#{key} is missing" for key in TENSOR if key not in tensor]
        sizes = tensor.get("spatial_shape", [])
        strange = [size for size in sizes if not isinstance(size, int) and not SIZE.fullmatch(str(size))]
        faults += [f"{side}#{name}#spatial_shape {size!r} is neither a number nor like '16*n'" for size in strange]
    return faults


CARD, LICENSE = "README.md", "LICENSE"
_DATA_LICENCE = "data_license.txt"
_SIMULATED = "monai_isles.phantom.dataset_or_phantom"


def write_layout(
    source: Path, folder: Path, weights: Path, overlays: Sequence[str] = (), settings: Mapping[str, float] | None = None
) -> None:
    """Write ``configs``, ``docs``, ``models/model.pt`` and ``LICENSE`` of a flat bundle; the metadata comes later.

    The card moves into ``docs``, beside the figures it shows. A calibration goes along with the weights it is of alone.
    ``overlays`` are laid over what trains and predicts; ``settings`` go into what predicts and evaluates.
    """
    changed = [Bundle(source).overlay(name) for name in overlays]
    for part in ("configs", "docs", "models"):
        (folder / part).mkdir(parents=True)
    fitted = calibration_of(weights)
    kept = fitted.is_file() and weights.parent.resolve() == (source / WEIGHTS).parent.resolve()
    chosen, moved = dict(settings or {}), False
    for path in sorted(source.glob("*.json")):
        if path.name != METADATA and not path.name.startswith("shipped"):
            config = portable(json.loads(path.read_text(encoding="utf-8")), path, folder / "configs")
            if changed and path.name in (TRAIN, INFERENCE):
                config = lay_over(config, changed)
            if "calibration" in config and not kept:
                config["calibration"] = None
            if path.name in (INFERENCE, "evaluate.json"):
                moved |= path.name == INFERENCE and config | chosen != config
                config |= chosen
            write_json(folder / "configs" / path.name, config)
    if kept:
        copy = Path(shutil.copyfile(fitted, folder / "models" / fitted.name))
        if moved:  # interval and confidence were fitted on masks of the bundle's own rule
            write_json(copy, json.loads(copy.read_text(encoding="utf-8")) | {"volume": [], "lesions": []})
    for name, part in (("logging.conf", "configs"), (_DATA_LICENCE, "docs")):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / part / name)
    for path in sorted(path for path in (source / "docs").glob("*") if path.is_file()):
        shutil.copyfile(path, folder / "docs" / path.name)
    card = (source / CARD).read_text(encoding="utf-8").replace("](docs/", "](")
    (folder / "docs" / CARD).write_text(card, encoding="utf-8")
    shutil.copyfile(source / LICENSE, folder / LICENSE)
    shutil.copyfile(weights, folder / WEIGHTS)


def calibration_of(weights: Path) -> Path:
    """Return the calibration file of a bundle's weights: ``calibration.json``, ``calibration_spes.json``."""
    name = "calibration" if weights.name == Path(WEIGHTS).name else f"calibration_{weights.stem}"
    return weights.with_name(f"{name}.json")


def portable(config: Mapping[str, Any], path: Path, configs: Path) -> dict[str, Any]:
    """Return a config whose paths start at the bundle's folder, and copy the data list it names into ``configs``.

    Results go to ``eval``, weights come from ``models/model.pt``. Where no data is named, prediction simulates a few
    scans of two slices, enough for a data list, and takes them from the only section they have.
    """
    out = dict(config)
    if "output_dir" in out:
        out["output_dir"] = "eval"
    if str(out.get("weights", "")).startswith("$@output_dir"):
        out["weights"] = "$@bundle_root + '/models/model.pt'"
    if isinstance(out.get("data_list"), str):
        # The list's path starts where ``bundle_root`` starts.
        up = [".."] * len(PurePosixPath(str(out.get("bundle_root", "."))).parts)
        source = path.parent.joinpath(*up, out["data_list"])
        if not source.is_file():
            found = f"{out['data_list']}, looked for at {source.resolve()}"
            raise refused("E-EXP-10", where=f"{path}: data_list", found=found)
        shutil.copyfile(source, configs / source.name)
        out["data_list"] = f"configs/{source.name}"
    if "bundle_root" in out:
        out["bundle_root"] = "."
    data = out.get("dataset_dir")
    if path.name == "inference.json" and isinstance(data, dict) and data.get("_target_") == _SIMULATED:
        folder = str(data["folder"])  # of its own for each kind of phantom
        small = f"${folder} + '_small'" if folder.startswith("@") else f"{folder}_small"
        out.update(dataset_dir={**data, "cases": 2, "max_slices": 2, "folder": small}, section="training")
    return out


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON as the model zoo formats it: four spaces, order kept."""
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Exported:
    """Hold the files of an export; ``dropped`` are facts of other weights, left out of the metadata."""

    folder: Path
    archive: Path
    archive_sha256: str
    checksums: dict[str, str]
    differences: dict[str, float]
    dropped: list[str]


def export_bundle(
    source: Path | str,
    out: Path,
    *,
    weights: Path | None = None,
    graphs: bool = True,
    force: bool = False,
    settings: Mapping[str, float] | None = None,
    overlays: Sequence[str] = (),
    zoo: bool = False,
    url: str | None = None,
) -> Exported:
    """Write ``<out>/<name>/`` in the bundle specification's layout and ``<out>/<name>.zip`` of it.

    Args:
        source: a bundle, or the name of a known one; never changed. Where its network has no parameters and it carries
            no weights, the export holds a state dictionary without entries, since the specification requires a file.
        out: a folder that does not exist or is empty.
        weights: a state dict in place of ``models/model.pt``.
        force: ``out`` may be in use; an earlier export of this bundle there is replaced, nothing else.
        settings: values in place of those of ``inference.json`` and ``evaluate.json``, as a search chose them.
        overlays: config files or rows of the bundle laid over ``train.json`` and ``inference.json``: ``label.json``
            makes a bundle for MONAI Label.
        zoo: name it as MONAI's model zoo does (``zoo_name`` of the metadata), list what is over 25 MB (it will lie
            below ``url``), and write the zoo's unit test beside it, ``ci/unit_tests/test_<name>.py``.
    Source: MONAI bundle specification; ``tests/export/test_bundle.py``.
    """
    source, out = Bundle.open(source).root.resolve(), Path(out).absolute()
    bundle = Bundle(source, tuple(overlays))
    chosen = Path(weights) if weights is not None else bundle.weights
    _require_complete(bundle, chosen)
    refuse(bundle.judge())
    metadata = check_metadata(bundle.metadata, str(bundle.file(METADATA)))
    name = str(metadata["zoo_name"]) if zoo else source.name
    _require_room(source, out, name, force)
    try:
        with folder_aside(out) as aside:
            folder = aside / name
            folder.mkdir(parents=True)
            if not chosen.is_file():
                publish_state(chosen := aside / "empty.pt", {})
            state = load_state(chosen, sha256=None if weights is not None else metadata.get("weights_sha256"))
            laid = overlays if weights is not None else bundle.with_shipped_settings.overlays
            write_layout(source, folder, chosen, laid, settings)
            (aside / "empty.pt").unlink(missing_ok=True)
            complete = _stated_inputs(complete_metadata(metadata, sha256_of(folder / WEIGHTS)), folder)
            network = load_network(Bundle(folder), state)
            inference = json.loads(Bundle(folder).file(INFERENCE).read_text(encoding="utf-8"))
            told = {"metadata": complete, "inference": inference}
            made = write_graphs(network, folder / "models", **told) if graphs else {}
            differences = {f"models/{path.name}": difference for path, difference in made.items()}
            dropped = sorted(set(metadata) - set(complete))
            if zoo:
                list_large_files(folder, url)
            checksums, archive = _finish(folder, complete, differences, bool(state)), f"{name}.zip"
            pack_zip(aside, aside / archive)
            if zoo:
                (aside / "ci/unit_tests").mkdir(parents=True)
                (aside / f"ci/unit_tests/test_{name}.py").write_text(unit_test(name, bundle), encoding="utf-8")
            sha256 = sha256_of(aside / archive)
            exported = Exported(out / name, out / archive, sha256, checksums, differences, dropped)
            _move(aside, out)
    except OSError as error:
        raise refused("E-EXP-04", where=str(out), found=error.strerror or str(error)) from error
    return exported


def _stated_inputs(metadata: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the metadata with ``modalities`` and ``channels`` of the config, which an overlay may have changed."""
    config, known = Bundle(folder).config("inference"), metadata.get("modalities", {})
    inputs = {
        key: known.get(key) or {"name": (m := MODALITIES[key]).name, "unit": m.unit} for key in config["modalities"]
    }
    formats = deepcopy(metadata["network_data_format"])
    if "channels" in config:
        names = dict(enumerate(config.get_parsed_content("channels")))
        formats["inputs"]["image"] |= {"num_channels": len(names), "channel_def": {str(n): k for n, k in names.items()}}
    return {**metadata, "modalities": inputs, "network_data_format": formats}


def _require_complete(bundle: Bundle, weights: Path) -> None:
    source = bundle.root
    if not source.exists():
        bundle.file(INFERENCE)  # raises, with the names of the known bundles
    missing = [name for name in (INFERENCE, TRAIN, METADATA, CARD, LICENSE) if not (source / name).is_file()]
    if not weights.is_file() and (missing or weights != bundle.weights or build_network(bundle).state_dict()):
        missing.append(str(weights))
    if missing:
        again = {"fix": "name the bundle that this export was made of"} if (source / "configs").is_dir() else {}
        raise refused("E-EXP-01", where=str(source), found=f"missing: {', '.join(missing)}", **again)


def _require_room(source: Path, out: Path, name: str, force: bool) -> None:
    target = out / name
    if out.resolve().is_relative_to(source) or target.resolve() == source:
        raise refused("E-EXP-03", where=str(out), found=f"bundle {source}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not force:
        raise refused("E-EXP-02", where=str(out), found="it exists and is not empty")
    if target.exists() and not (target / CHECKSUMS).is_file():
        found = f"not an export: it has no {CHECKSUMS}"
        raise refused("E-EXP-02", where=str(target), found=found, fix="name a new folder")


def _finish(folder: Path, metadata: dict, graphs: Mapping[str, float], shipped: bool) -> dict:
    """Write and return checksums of all files, after those that depend on the models: metadata, cards, data licence."""
    if graphs:
        metadata["graphs"] = {
            name: {"sha256": sha256_of(folder / name), "largest_logit_difference": difference}
            for name, difference in graphs.items()
        }
    write_json(folder / "configs" / METADATA, metadata)
    card = folder / "docs" / CARD
    honest = honest_card(card.read_text(encoding="utf-8"), metadata, shipped=shipped)
    card.write_text(honest, encoding="utf-8")
    (folder / CARD).write_text(hub_card(honest, metadata), encoding="utf-8")
    licence = folder / "docs" / _DATA_LICENCE
    if not licence.is_file():
        text = (TEMPLATES / _DATA_LICENCE).read_text(encoding="utf-8")
        licence.write_text(text.format(source=metadata["data_source"]), encoding="utf-8")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    checksums = {name: sha256_of(folder / name) for name in names}
    listed = "".join(f"{checksum}  {name}\n" for name, checksum in checksums.items())
    (folder / CHECKSUMS).write_text(listed, encoding="utf-8")
    return checksums


def _move(aside: Path, out: Path) -> None:
    """Move the whole export into place with renames; what it replaces is moved aside, and deleted with that folder."""
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if not out.exists():
        os.replace(aside, out)
        return
    # ``ci`` may hold the unit tests of other bundles
    tests, parts = list(aside.glob("ci/unit_tests/*")), [new for new in aside.iterdir() if new.name != "ci"]
    for new in sorted([*tests, *parts]):
        target = out / new.relative_to(aside)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            target.rename(aside / f"replaced-{new.name}")
        os.replace(new, target)
