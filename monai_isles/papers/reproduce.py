"""Reproduce a paper's tables and figures: our trained and scored rows, and the published ones.

Finished parts are kept: repeat the same command to continue after a stop.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import setting
from monai_isles.errors import EXIT_DONE, IslesError, find_isles_error
from monai_isles.io.runs import RunFolder
from monai_isles.papers import by_folds, by_search, by_split
from monai_isles.papers.published import papers
from monai_isles.papers.study import PaperRow, Request, Study


def main(argv: Sequence[str] | None = None) -> int:
    """Make the requested tables and figures; exit codes as for ``monai-isles``."""
    parser = argparse.ArgumentParser(prog="reproduce", description=str(__doc__).splitlines()[0])
    choose = parser.add_subparsers(dest="paper", required=True, metavar="PAPER")
    for name, folder in papers().items():
        paper = Bundle(folder).paper
        item = choose.add_parser(name, help=paper["title"], description=paper["title"])
        _arguments(item, paper)
        _module(paper).arguments(item, paper)
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(words)
    if args.seeds and "seed" in dict(args.set):
        parser.error("argument --seeds: not beside --set seed=N")
    if (least := min([args.seed, *args.seeds])) < 0:
        parser.error(f"argument --seed{'s' * (least in args.seeds)}: {least} is below 0")
    try:
        return _run(args, words)
    except (IslesError, RuntimeError) as error:
        ours = find_isles_error(error)
        if ours is None:
            raise
        print(ours, file=sys.stderr)
        return ours.exit_code


def _module(paper: Mapping[str, Any]) -> ModuleType:
    """Return the kind of study that ``protocol`` of a ``paper.json`` names: ``search``, ``folds`` or ``split``."""
    return {"search": by_search, "folds": by_folds, "split": by_split}[paper["protocol"]]


def _arguments(parser: argparse.ArgumentParser, paper: Mapping[str, Any]) -> None:
    """Declare tables, figures, data, folder, bundle and settings."""
    default = getattr(_module(paper), "DEFAULT", {})
    for kind in ("table", "figure"):
        numbers = paper["makes"].get(kind, {})
        if numbers:
            text = "; ".join(f"{number}: {what}" for number, what in numbers.items())
            parser.add_argument(f"--{kind}", type=int, nargs="+", choices=[int(n) for n in numbers],
                                default=default.get(kind, []), help=text)  # fmt: skip
        else:
            parser.set_defaults(**{kind: []})
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only these rows, by printed name or "
                        "key in paper.json; optional rows are trained only when named")  # fmt: skip
    parser.add_argument("--data-list", type=Path, help="data list with folds (default: made from the data folder)")
    parser.add_argument("--dataset-dir", type=Path, help="data folder (default: the bundle's, a simulated one)")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables, figures and all trainings")
    parser.add_argument("--bundle", type=Path, help="folder of the bundle (default: bundles/<paper>)")
    parser.add_argument("--overlay", nargs="+", default=[], metavar="NAME", help="config files that all rows share")
    parser.add_argument("--set", nargs="+", action="extend", default=[], type=setting, metavar="KEY=VALUE",
                        help="settings of all rows, as JSON")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="train every row once for each "
                        "seed, in OUT/seed_N; OUT gets tables over the trainings")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default: 0)")


def _run(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Make the study while holding the output folder; print and record the results."""
    started = time.monotonic()
    bundle = Bundle.open(args.bundle or args.paper)
    args.command, args.say, paper = command_of(words), _say, bundle.paper
    requests = [_request(args, bundle, seed) for seed in dict.fromkeys(args.seeds)] or [_request(args, bundle)]
    with RunFolder(args.out) as held:
        made = [_module(paper).make(request) for request in requests]
        texts, rows = made[0]
        if len(made) > 1:
            texts = _request(args, bundle).trainings_tables([request.compared for request in requests])
            rows = {request.args.out.name: rows for request, (_, rows) in zip(requests, made, strict=True)}
        minutes = round((time.monotonic() - started) / 60, 1)
        settings = {"overlays": args.overlay, **dict(args.set)}
        split = {key: rows.pop(key) for key in ("split",) if key in rows}
        held.finish({"command": "reproduce", "minutes": minutes, "settings": settings, **split, "rows": rows})
    print("\n\n".join(texts))
    return EXIT_DONE


def _request(args: argparse.Namespace, bundle: Bundle, seed: int | None = None) -> Request:
    """Return the request to train every row once; with several seeds each has a folder of its own."""
    settings, out = dict(args.set), args.out
    if seed is not None:
        settings["seed"], out = seed, out / f"seed_{seed}" if len(set(args.seeds)) > 1 else out
    study = Study(bundle.root, args.data_list, args.dataset_dir, tuple(args.overlay), settings, seed=args.seed)
    return Request(argparse.Namespace(**{**vars(args), "out": out}), bundle.paper, study)


def _say(row: PaperRow) -> None:
    column = f", {row.column}" if row.column else ""
    print(f"== {row.table}, {row.name}{column} ({row.key})", file=sys.stderr, flush=True)


def command_of(words: Sequence[str]) -> str:
    """Return the command line; an absolute path is replaced by its option's name."""
    shown, option = ["python tools/reproduce.py"], ""
    for word in words:
        option = word if word.startswith("--") else option
        hidden = option.removeprefix("--").replace("-", "_").upper() if Path(word).is_absolute() else word
        shown.append(repr(hidden) if " " in hidden else hidden)
    return " ".join(shown)


if __name__ == "__main__":
    sys.exit(main())
