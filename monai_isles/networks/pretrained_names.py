"""The names that other implementations give to the tensors of a ResNet and of a PSPNet."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WRAPPERS = ("module.", "model.", "network.", "backbone.", "encoder.", "pretrained.", "feats.", "resnet.")
_PART = {"1": "conv", "2": "norm", "conv": "conv", "bn": "norm"}
_PYRAMID = re.compile(r"(?:ppm\.features|ppm|psp\.stages|decode_head\.psp_modules)\.(\d)\.(?:1\.)?(1|2|conv|bn)\.(\w+)")
_FINAL = re.compile(r"(?:cls|final|conv_last)\.([01])\.(\w+)|decode_head\.bottleneck\.(conv|bn)\.(\w+)")
_STEM = re.compile(r"(?:layer0|stem|conv1)\.([0-7])\.(\w+)")
_RESNET = re.compile(r"(?:layer0\.)?((?:conv[1-3]|bn[1-3])\.\w+|layer[1-4]\..+)")
_HEAD = re.compile(r"(?:initializer|classifier|fc|aux\w*|head|(?:cls|final|conv_last)\.\d)\.|decode_head\.conv_seg\.")


def own_names(keys: Iterable[str]) -> dict[str, str | None]:
    """Return for each key the name that ``PSPNet`` has for it; None for classifiers, initializers, auxiliary heads.

    Known are torchvision's ResNet and segmentation networks (``layer1.0.conv1.weight``, ``backbone.layer1...``), the
    PSPNet authors' PyTorch version (``layer0.0``, ``ppm.features.0.1``, ``cls.0``) and its kin (``final.0``,
    ``conv_last.0``, ``decode_head.psp_modules.0.1.conv``), any of them under ``module.``. A key that none of them has
    comes back as it is, without its wrapper.
    Source: ours; the names are facts of those projects, ``tests/networks/test_pretrained.py``.
    """
    bare = {key: _unwrapped(key) for key in keys}
    nested = any(name.startswith("conv1.0.") for name in bare.values())
    return {key: _own_name(name, nested=nested) for key, name in bare.items()}


def _unwrapped(key: str) -> str:
    while wrapper := next((w for w in _WRAPPERS if key.startswith(w)), None):
        key = key.removeprefix(wrapper)
    return key


def _own_name(name: str, *, nested: bool) -> str | None:
    if found := _PYRAMID.fullmatch(name):
        return f"pyramid.branches.{found[1]}.{_PART[found[2]]}.{found[3]}"
    if found := _FINAL.fullmatch(name):
        part = {"0": "conv", "1": "norm", "conv": "conv", "bn": "norm"}[found[1] or found[3]]
        return f"final.{part}.{found[2] or found[4]}"
    if found := _STEM.fullmatch(name):
        index = int(found[1])
        return f"backbone.{'bn' if index % 3 else 'conv'}{index // 3 + 1}.{found[2]}"
    if nested and name.startswith("bn1."):
        return f"backbone.bn3.{name.removeprefix('bn1.')}"
    if found := _RESNET.fullmatch(name):
        return f"backbone.{found[1]}"
    return None if _HEAD.match(name) else name
