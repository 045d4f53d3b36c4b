"""Check the metadata of a bundle field by field, and fill in what only the export knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from monai_isles.bundle.bundle import OF_WEIGHTS
from monai_isles.errors import IslesError, refused

REQUIRED = (
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
    "required_packages_version", "task", "description", "authors", "copyright", "intended_use", "not_intended_use",
    "data_source", "data_type", "network_data_format",
)  # fmt: skip
TENSOR = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")
SIZE = re.compile(r"([1-9]\d*)\*n")
_TENSORS = (("inputs", "image"), ("outputs", "pred"))
_VERSIONS = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}


def check_metadata(content: object, where: str) -> dict:
    """Return the metadata when it has every field that sharing a bundle needs.

    Args:
        where: the file, for the error.
    Raises:
        IslesError: ``E-EXP-05`` with every fault at once.
    Source: fields required by MONAI's metadata schema 20240725 and by its model zoo, and the intended use;
    ``tests/export/test_metadata.py``.
    """
    if not isinstance(content, dict):
        raise _refusal(where, [f"a JSON {type(content).__name__}, not an object"])
    faults = [f"{key} is missing or empty" for key in REQUIRED if not content.get(key)]
    changes = content.get("changelog")
    if isinstance(changes, Mapping) and content.get("version") not in changes:
        faults.append(f"changelog has no entry for version {content.get('version')}")
    packages = content.get("required_packages_version")
    if isinstance(packages, Mapping):
        faults += [f"package {name} is not installed" for name in packages if installed(name) is None]
    elif packages:
        faults.append("required_packages_version is not an object")
    faults += _format_faults(content.get("network_data_format"))
    if faults:
        raise _refusal(where, faults)
    return content


def complete_metadata(content: Mapping[str, Any], weights_sha256: str) -> dict[str, object]:
    """Return the metadata with the versions in use and the checksum of the weights.

    Measured results belong to weights: they are left out when the metadata names other weights than these.
    """
    known = content.get("weights_sha256", weights_sha256)
    kept = {key: value for key, value in content.items() if known == weights_sha256 or key not in OF_WEIGHTS}
    packages = content["required_packages_version"]
    return {
        **kept,
        **{key: installed(package) for key, package in _VERSIONS.items()},
        "required_packages_version": {name: installed(name) for name in packages},
        "weights_sha256": weights_sha256,
    }


def installed(package: str) -> str | None:
    """Return the version of an installed package without its build tag (2.10.0 for 2.10.0+cpu), None when missing."""
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return None


def _format_faults(formats: object) -> list[str]:
    if not isinstance(formats, Mapping):
        return []
    faults = []
    for side, name in _TENSORS:
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


def _refusal(where: str, faults: list[str]) -> IslesError:
    return refused("E-EXP-05", where=where, found="; ".join(faults))
