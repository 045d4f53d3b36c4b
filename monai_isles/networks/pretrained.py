"""Load pre-trained weights into a network and report which tensors were used."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.io.weights import load_state

_WRAPPERS = re.compile(r"^((module|model|network|backbone|encoder|pretrained|feats|resnet)\.)+")
_PART = {"1": "conv", "2": "norm", "conv": "conv", "bn": "norm"}
_PYRAMID = re.compile(r"(?:ppm\.features|ppm|psp\.stages|decode_head\.psp_modules)\.(\d)\.(?:1\.)?(1|2|conv|bn)\.(\w+)")
_FINAL = re.compile(r"(?:cls|final|conv_last)\.([01])\.(\w+)|decode_head\.bottleneck\.(conv|bn)\.(\w+)")
_STEM = re.compile(r"(?:layer0|stem|conv1)\.([0-7])\.(\w+)")
_RESNET = re.compile(r"(?:layer0\.)?((?:conv[1-3]|bn[1-3])\.\w+|layer[1-4]\..+)")
_HEAD = re.compile(r"(?:initializer|classifier|fc|aux\w*|head|(?:cls|final|conv_last)\.\d)\.|decode_head\.conv_seg\.")


def own_names(keys: Iterable[str]) -> dict[str, str | None]:
    """Return for each key the name that ``PSPNet`` has for it; None for classifiers, initializers, auxiliary heads.

    Supported are torchvision's ResNet and segmentation networks (``layer1.0.conv1.weight``, ``backbone.layer1...``),
    the PSPNet authors' PyTorch version (``layer0.0``, ``ppm.features.0.1``, ``cls.0``) and related ones (``final.0``,
    ``conv_last.0``, ``decode_head.psp_modules.0.1.conv``), any of them under ``module.``. An unknown key
    is returned unchanged, without its wrapper.
    """
    bare = {key: _WRAPPERS.sub("", key) for key in keys}
    nested = any(name.startswith("conv1.0.") for name in bare.values())
    return {key: _own_name(name, nested=nested) for key, name in bare.items()}


def _own_name(name: str, *, nested: bool) -> str | None:
    if result := _PYRAMID.fullmatch(name):
        return f"pyramid.branches.{result[1]}.{_PART[result[2]]}.{result[3]}"
    if result := _FINAL.fullmatch(name):
        part = {"0": "conv", "1": "norm", "conv": "conv", "bn": "norm"}[result[1] or result[3]]
        return f"final.{part}.{result[2] or result[4]}"
    if result := _STEM.fullmatch(name):
        index = int(result[1])
        return f"backbone.{'bn' if index % 3 else 'conv'}{index // 3 + 1}.{result[2]}"
    if nested and name.startswith("bn1."):
        return f"backbone.bn3.{name.removeprefix('bn1.')}"
    if result := _RESNET.fullmatch(name):
        return f"backbone.{result[1]}"
    return None if _HEAD.match(name) else name


log = logging.getLogger(__name__)
Report = dict[str, list[str]]

_BACKBONE = "backbone."
_COUNTER = "num_batches_tracked"
_NESTS = ("objects", "state_dict", "model", "model_state_dict", "network")


def load_pretrained(network: nn.Module, path: str | Path) -> Report:
    """Load the matching tensors of a ResNet's or PSPNet's state dictionary: the whole backbone or nothing.

    Classifiers, initializers and auxiliary heads of the file are left out; pyramid and final convolution are loaded
    where their shapes agree. The report goes to the log.

    Args:
        network: a network whose encoder is ``network.backbone``.
        path: file of a state dictionary, or of one within ``state_dict`` or ``model``; namings as of ``own_names``.
    Returns: names of tensors: ``matched``, which were loaded; ``missing`` in the file, without classifier and
        initializer; ``unexpected`` in the network, as in the file; of ``wrong_shape``, not loaded. No counters.
    Source: ours; Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.3; ``tests/networks/test_pretrained.py``.
    """
    where, state = str(path), _tensors(load_state(path), str(path))
    names = own_names(state)
    result = {own: key for key, own in names.items() if own is not None}
    own_state = network.state_dict()
    wanted = [n for n in own_state if not n.endswith(_COUNTER) and not n.startswith(("initializer.", "classifier."))]
    fits = [n for n in own_state if n in result and own_state[n].shape == state[result[n]].shape]
    report = {
        "matched": [n for n in wanted if n in fits],
        "missing": [n for n in wanted if n not in result],
        "unexpected": [k for n, k in result.items() if n not in own_state and not n.endswith(_COUNTER)],
        "wrong_shape": [n for n in wanted if n in result and n not in fits],
    }
    strangers = [key for key, name in own_names(report["unexpected"]).items() if (name or "").startswith(_BACKBONE)]
    if strangers:
        raise refused("E-NET-23", where=where, found=_count_text("tensors that this backbone has not", strangers))
    _require_backbone(report, where)
    network.load_state_dict({n: state[result[n]] for n in fits}, strict=False)
    others = "; ".join(_count_text(kind.replace("_", " of "), report[kind]) for kind in [*report][1:])
    log.info("weights from %s: %d tensors matched; %s", where, len(report["matched"]), others)
    return report


def _tensors(state: object, where: str) -> dict[str, Tensor]:
    while isinstance(state, Mapping) and (nest := next((n for n in _NESTS if isinstance(state.get(n), Mapping)), None)):
        state = state[nest]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        raise refused("E-NET-24", where=where, found=f"a {type(state).__name__} without tensors")
    return tensors


def _require_backbone(report: Report, where: str) -> None:
    kinds = ("matched", "missing", "wrong_shape")
    matched, missing, wrong = ([n for n in report[kind] if n.startswith(_BACKBONE)] for kind in kinds)
    total = len(matched) + len(missing) + len(wrong)
    if len(matched) < total or not matched:
        lack = f"{_count_text('missing', missing)}; {_count_text('wrong of shape', wrong)}"
        raise refused("E-NET-22", where=where, found=f"{len(matched)} of {total} tensors matched; {lack}")


def _count_text(word: str, names: Sequence[str], shown: int = 3) -> str:
    some = ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
    return f"{len(names)} {word}" + (f" ({some})" if names else "")
