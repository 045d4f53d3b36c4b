"""Start-up: seconds of help, version and usage errors, and from the end of imports to the first window of a prediction.

Every measurement is a new process. There is no reference: the issue asks for under 0.3 s and under 3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import bench

from monai_isles.cli.main import VERBS
from monai_isles.phantom import make_dataset

SUBJECT, BUNDLE = "startup", Path(__file__).parents[1] / "bundles" / "clerigues"
LONGEST_S, LONGEST_TO_INFERENCE_S = 0.3, 3.0
COMMAND = [sys.executable, "-m", "monai_isles.cli.main"]


def seconds(words: Sequence[str], code: int) -> float:
    """Return the wall time of one command, and insist on its exit code."""
    begun = time.perf_counter()
    done = subprocess.run([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    taken = time.perf_counter() - begun
    if done.returncode != code:
        raise SystemExit(f"{words}: exit code {done.returncode}, {code} expected\n{done.stderr}")
    return taken


def to_first_window(folder: Path, threads: int) -> dict[str, float]:
    """Return seconds of the imports and from their end to the first window, of one prediction in a new process."""
    words = [sys.executable, __file__, "--child", str(folder), "--threads", str(threads)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(folder: Path, threads: int) -> None:
    """Import what ``predict`` imports, start it, and say when a network is called first; then stop at once."""
    begun = time.perf_counter()
    import torch

    from monai_isles.cli.main import main

    imported = time.perf_counter()

    def first(module: torch.nn.Module, _: object) -> None:
        if type(module).__module__.startswith("monai_isles.networks"):
            found = {"imports_s": imported - begun, "first_window_s": time.perf_counter() - imported}
            print(json.dumps(found), flush=True)
            os._exit(0)

    torch.nn.modules.module.register_module_forward_pre_hook(first)
    case, out = next((folder / "data" / "TRAINING").iterdir()), folder / f"out-{os.getpid()}"
    main(["predict", str(case), "--bundle", str(BUNDLE), "--out", str(out), "--threads", str(threads)])
    raise SystemExit("predict ended without calling a network")


def main(words: Sequence[str] | None = None) -> int:
    """Report the light commands, then the way to the first window."""
    parser = bench.arguments(__doc__, rounds=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = bench.begin(parser, words)
    if args.child:
        child(args.child, args.threads)
    rounds = 1 if args.quick else args.rounds
    verbs = ["predict"] if args.quick else list(VERBS)
    light = {"--help": (["--help"], 0), "--version": (["--version"], 0), "usage error": (["predict"], 2)}
    light |= {f"{verb} --help": ([verb, "--help"], 0) for verb in verbs}
    taken = {name: statistics.median(seconds(*command) for _ in range(rounds)) for name, command in light.items()}
    slowest = max(taken, key=taken.__getitem__)
    said = f"slowest of {len(taken)} is {slowest!r}: {taken[slowest]:.3f} s, under {LONGEST_S:g} s wanted"
    each = {name: round(value, 3) for name, value in taken.items()}
    bench.keep({"subject": SUBJECT, "row": "help, version, usage error", "said": said, "seconds": each}, args)
    if args.quick:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder) / "data", cases=1, seed=2018, series=False, max_slices=4)
        found = [to_first_window(Path(folder), args.threads) for _ in range(rounds + 1)][1:]
    middle = {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
    said = (
        f"{middle['first_window_s']:.2f} s after imports of {middle['imports_s']:.2f} s, "
        f"under {LONGEST_TO_INFERENCE_S:g} s wanted"
    )
    bench.keep({"subject": SUBJECT, "row": "first window of a prediction", "said": said, **middle}, args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
