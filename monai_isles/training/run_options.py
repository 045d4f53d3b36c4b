"""Judge the options of ``monai.bundle run`` before its work, and end it by four lines and an exit code."""

from __future__ import annotations

import inspect
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle import run as run_bundle
from monai.utils import ensure_tuple

from monai_isles.errors import arguments_error, find_isles_error, memory_error, refused
from monai_isles.training.checkpoints import terminate
from monai_isles.training.distributed import pick_device

_OF_MONAI = {name for made in (run_bundle, ConfigWorkflow) for name in inspect.signature(made).parameters}
_SIZES = ("grid", "patch", "border", "validation_step")
_COUNTS = ("max_epochs", "batch_size", "val_interval", "patience", "grid", "patch", "validation_step", "widths")
_STEPS = ("pixel_mm", "step_s")
_PATHS = ("bundle_root", "dataset_dir", "data_list", "output_dir", "cache_dir", "weights", "initial_weights")
_METRICS = ("metric", "stop_metric")
_JUDGED_ELSEWHERE = ("fold", "compile")


def plain_exits(**ignored: object) -> None:
    """Print an error of this package as its four lines and exit with its code; exit 143 on SIGTERM.

    Call it first in a bundle's ``initialize``. Other exceptions keep their traceback and exit code 1. The options of
    ``monai.bundle run`` and the ids of its further config files are judged by the values in the first one.

    Args:
        ignored: counts in bundles that were exported earlier; they are judged with the others now.
    Raises: ``E-TRAIN-22`` for a value of another kind, ``E-XVAL-02`` for an option that the config does not have.

    >>> import signal
    >>> hook, handler = sys.excepthook, signal.signal(signal.SIGTERM, signal.SIG_DFL)
    >>> plain_exits()
    >>> signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    False
    >>> sys.excepthook, _ = hook, signal.signal(signal.SIGTERM, handler)  # as before
    """
    sys.excepthook = _hook
    signal.signal(signal.SIGTERM, terminate)
    given = _options(sys.argv[1:])
    if "config_file" in given:
        _judge(ensure_tuple(given["config_file"]), {k: v for k, v in given.items() if k not in _OF_MONAI})


def _options(words: list[str]) -> dict[str, Any]:
    """Return the options of a command line as Fire, which ``monai.bundle`` uses, reads them."""
    from fire.parser import DefaultParseValue

    given = {}
    for word, following in zip(words, [*words, "--"][1:], strict=True):
        if match := re.match(r"--?([a-zA-Z][^=]*)(=.*)?$", word, re.DOTALL):
            value = match[2][1:] if match[2] else "True" if re.match("--|-[a-zA-Z]", following) else following
            # Behind "#" Fire reads a comment: "run #1" would be "run".
            cut = "#" in value and not value.startswith(("$", "@", "%"))
            given[match[1].replace("-", "_")] = value if cut else DefaultParseValue(value)
    return given


def _judge(files: Sequence[str], given: Mapping[str, Any]) -> None:
    config, first = ConfigParser(), ConfigParser.load_config_file(files[0])
    config.read_config(files)
    unknown = [name for name in given if re.split("#|::", name)[0] not in config]
    if unknown and "--tracking" not in " ".join(sys.argv):  # it adds ids of its own
        known = f"settings {', '.join(sorted(first))}"
        raise refused("E-XVAL-02", where=", ".join(f"--{name}" for name in unknown), found=known)
    config.update(dict(given))
    judge_settings(config, first)


def judge_settings(config: ConfigParser, first: Mapping[str, Any], option: str = "--") -> None:
    """Refuse a value of a config that is of another kind than the bundle's own; expressions are not judged.

    Args:
        first: the bundle's own config by id. option: what stands before a name that the user gave.
    Raises: ``E-TRAIN-22``, ``E-RUN-20`` for a GPU that is not there.
    """
    judge = str(config.get("train#checkpoints#evaluator", "")).strip("@").partition("#")[0]
    text = json.dumps(config.get(judge) if judge else None, default=str)  # its metrics alone can choose the epoch
    for name, default in first.items():
        value = config.get(name)
        if name in _METRICS and f'"{value}": {{' not in text:
            one_of = ", ".join(sorted(set(re.findall(r'"(val_\w+)": \{', text))))
            raise refused("E-TRAIN-22", where=f"{option}{name}", found=repr(value), wanted=f"one of {one_of}")
        if name not in _JUDGED_ELSEWHERE and (wanted := _wanted(name, default, value)):
            raise refused("E-TRAIN-22", where=f"{option}{name}", found=repr(value), wanted=wanted)


def _wanted(name: str, default: object, value: object) -> str | None:
    """Return what a setting must be, or None if ``value`` is that; expressions are not judged."""
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        return None
    if name in _PATHS:
        fits = value is None or (isinstance(value, str | dict) and "#" not in value)
        return None if fits else "a path without #, which MONAI replaces (a folder named 5 or a,b as ./5 or ./a,b)"
    if isinstance(default, str) and default.startswith(("$", "@", "%")):
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, bool):  # Fire reads true as a text, which counts as true; so would false
        return None if value in (True, False, "true") else "True or False"
    if isinstance(default, int | float):
        least, whole = int(name in _COUNTS), isinstance(default, int)
        fits = number and cast(float, value) >= least and not (whole and cast(float, value) % 1)
        if name in _STEPS and not (fits and value):
            return "a number above 0"
        return None if fits else f"a {'whole ' * whole}number of at least {least}"
    if isinstance(default, list):
        fits = value is None or isinstance(value, list) or (name == "step" and number)  # one for all axes
        if isinstance(value, list) and default:
            fits = not any(_wanted(name, default[0], one) for one in value)
            fits = fits and (name not in _SIZES or len(value) == len(default))
        return None if fits else f"a list in quotes and brackets, such as {json.dumps(default)!r}"
    if isinstance(default, dict) and not isinstance(value, dict | None):
        if name == "device" and value != "auto" and pick_device(str(value)):
            return None
        return "one argument of it: " + ", ".join(f"--{name}#{key} VALUE" for key in default if key != "_target_")
    return "a text" if isinstance(default, str) and (number or isinstance(value, list)) else None


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    ours = find_isles_error(error) or memory_error(error, "this run") or arguments_error(error)
    if ours is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(ours, file=sys.stderr)
    raise SystemExit(ours.exit_code)
