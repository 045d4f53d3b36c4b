"""``monai-isles``: choose the verb, load only its module, turn errors into exit codes."""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from itertools import takewhile
from types import ModuleType
from typing import Any

from monai_isles import __version__
from monai_isles.errors import EXIT_DONE, IslesError, arguments_error, find_isles_error, memory_error, refused
from monai_isles.io.findings import tell_counts

VERBS = {
    "phantom": "simulate a data set: CT perfusion (ISLES 2018 layout) or MRI (ISLES 2015 layout)",
    "check": "list every finding of a data set or a bundle without running anything",
    "datalist": "read a data folder and write a data list with patient-grouped folds",
    "prepare": "preprocess cases into a cache that training and prediction share",
    "crossval": "train and predict every fold of a bundle, restartable",
    "search": "choose threshold and smallest lesion on out-of-fold predictions, by two protocols",
    "bundles": "list the known bundles: task, inputs, weights, measured results, licence",
    "predict": "segment new cases",
    "predict-series": "process perfusion studies from the scanner to maps, core, lesion, page and DICOM",
    "bids": "predict participants of a BIDS data set into BIDS derivatives, as a BIDS App",
    "evaluate": "score predictions against references",
    "perfusion": "compute CBF, CBV, MTT, Tmax and TTP maps from a raw CT perfusion series",
    "report": "write the HTML page of a scored set of predictions",
    "export": "write a bundle in the bundle specification's layout, with a zip to share",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
NOTICE = "Research only, not a medical device."


def build_parser(verb: str | None, *, whole: bool = True) -> argparse.ArgumentParser:
    """Return the parser; only ``verb``'s own module is loaded; the help shows its ``ADVANCED`` options if ``whole``."""
    parser = argparse.ArgumentParser(prog="monai-isles", description=f"Ischemic stroke lesion segmentation. {NOTICE}")
    parser.add_argument("--version", action="version", version=f"monai-isles {__version__}. {NOTICE}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        sub = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == verb:
            _module(name).arguments(sub)
            advanced: frozenset[str] = getattr(_module(name), "ADVANCED", frozenset())
            sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
            sub.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
            if advanced:
                sub.add_argument("--help-all", action="help", help=f"show {len(advanced)} more options")
            for action in (item for item in sub._actions if not whole and advanced.intersection(item.option_strings)):
                action.help = argparse.SUPPRESS
    return parser


def _parse(words: list[str], verb: str | None) -> argparse.Namespace:
    """Parse the words of a command; for an unknown option show the verb's usage and the option that is nearest."""
    parser = build_parser(verb, whole="--help-all" in words)
    if "" in words:  # ``--out ""`` would be the current folder
        parser.error("an argument is empty: is a variable of the shell not set?")
    args, unknown = parser.parse_known_args(words)
    if unknown:
        sub = next(item for item in parser._actions if isinstance(item, argparse._SubParsersAction)).choices[args.verb]
        near = difflib.get_close_matches(unknown[0], sub._option_string_actions, 1)
        sub.error(f"unrecognized arguments: {' '.join(unknown)}{f'; did you mean {near[0]}?' if near else ''}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 1 our bug, 2 usage, 3 some cases failed, 4 refused, 5 unsafe.

    SIGTERM exits with 143, the user's interrupt with 130; neither leaves a lock or a part of a file.
    """
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # closed by >&-
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape characters that its encoding lacks, instead of failing
            stream.reconfigure(errors="backslashreplace")
    words = _today_spelling(list(sys.argv[1:] if argv is None else argv))
    verb = next((w for w in words if w in VERBS), None)
    try:
        args = _parse(words, verb)
    except SystemExit as stop:
        return int(stop.code or 0)
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("monai_isles.inference.malloc").setLevel(logging.INFO)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    before = _exit_on_sigterm()
    try:
        code = int(_module(args.verb).run(args))
        sys.stdout.flush()
        return code
    except (IslesError, RuntimeError, MemoryError) as error:
        ours = find_isles_error(error) or memory_error(error, f"monai-isles {args.verb}") or arguments_error(error)
        if ours is None or args.debug:
            raise
        facts = {"error": ours.code, **{name: getattr(ours, name) for name in ("fault", "where", "found", "fix")}}
        print(json.dumps(facts) if args.json else str(ours), file=sys.stderr)
        return ours.exit_code
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and (error.errno not in _FULL or error.filename or args.debug):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else what is left fails again at the end
        if isinstance(error, BrokenPipeError):
            return EXIT_DONE
        full = refused("E-FILE-10", where="standard output", found=str(error.strerror), fix="free space, and repeat")
        print(full, file=sys.stderr)
        return full.exit_code
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        return 130
    finally:
        tell_counts()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _today_spelling(words: list[str]) -> list[str]:
    """Return ``predict --from-series A B``, the spelling of the first release, as ``predict-series A B``."""
    if "predict" not in words or "--from-series" not in words:
        return words
    at = words.index("--from-series")
    paths = list(takewhile(lambda word: not word.startswith("-"), words[at + 1 :]))
    others = [*words[:at], *words[at + 1 + len(paths) :]]
    others.remove("predict")
    return ["predict-series", *paths, *others]


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"monai_isles.cli.{verb.replace('-', '_')}")


def _exit_on_sigterm() -> Any:
    """Handle SIGTERM as an error, so that partial files and locks are removed; return the previous handler."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


if __name__ == "__main__":
    sys.exit(main())
