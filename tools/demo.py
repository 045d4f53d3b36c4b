"""The first ten minutes: simulated strokes, a short training, prediction and scores of subjects it never saw, a page.

Every step is a command that works on real data too; they are printed as they run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = "bundles/clerigues"
UNSEEN = "0"
RUN = "short-training/run"


def main() -> int:
    """Run the steps in order; stop at the first that fails, with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="demo", help="folder for everything the demo makes (default: demo)")
    parser.add_argument(
        "--cases", type=int, default=48, help="simulated scans; a quarter is never trained on (default: 48)"
    )
    args = parser.parse_args()
    started = time.monotonic()
    for title, command in steps(Path(args.out), args.cases):
        print(f"\n== {title}\n$ {' '.join(command)}", flush=True)
        if "training" in command and (ROOT / args.out / RUN / "run.json").is_file():
            print("done before")
            continue
        code = subprocess.run([*launcher(command[0]), *command[1:]], cwd=ROOT, env=calm(), check=False).returncode
        if code:
            return code
    page = (ROOT / args.out / "page.html").resolve()
    minutes = (time.monotonic() - started) / 60
    print(f"\nDone in {minutes:.1f} minutes. Open this page in a browser (simulated data):\n  {page}")
    return 0


def steps(out: Path, cases: int) -> list[tuple[str, list[str]]]:
    """Return title and command line of every step."""
    data, data_list = str(out / "phantom"), str(out / "data_list.json")
    held_out = ["--data-list", data_list, "--folds", UNSEEN]
    workers = str(min(2, os.cpu_count() or 1))
    predict = ["monai-isles", "predict", data, *held_out, "--bundle", BUNDLE, "--step", "16", "--no-report"]
    score = ["monai-isles", "evaluate", "--ref", data, *held_out]
    short, shipped = out / "short-training", out / "shipped-weights"
    return [
        (f"make {cases} simulated scans",
         ["monai-isles", "phantom", "--out", data, "--cases", str(cases), "--seed", "2020", "--max-slices", "4",
          "--no-series", "--workers", workers]),
        ("split them by subject: fold 0 is never trained on",
         ["monai-isles", "datalist", data, "--out", data_list, "--folds", "4", "--force"]),
        ("train for a few minutes on folds 2 and 3, watching fold 1",
         ["python", "-m", "monai.bundle", "run", "training",
          "--config_file", f"['{BUNDLE}/train.json','{BUNDLE}/demo.json']", "--dataset_dir", data,
          "--data_list", data_list, "--fold", "1", "--held_out", "[0]", "--output_dir", str(out / RUN)]),
        ("predict fold 0 with the short training",
         [*predict, "--weights", str(out / RUN / "model.pt"), "--out", str(short / "predictions")]),
        ("predict fold 0 with the shipped weights", [*predict, "--out", str(shipped / "predictions")]),
        ("score the short training beside the threshold rules",
         [*score, "--pred", str(short / "predictions"), "--out", str(short / "scores"), "--baseline"]),
        ("score the shipped weights",
         [*score, "--pred", str(shipped / "predictions"), "--out", str(shipped / "scores")]),
        ("write the page",
         ["monai-isles", "report", "--pred", str(shipped / "predictions"), "--ref", data,
          "--scores", str(shipped / "scores"), str(short / "scores"),
          "--names", "shipped weights", "short training (this demo)",
          "--curves", str(out / RUN / "curves.csv"), "--published", "clerigues",
          "--title", "First strokes", "--out", str(out / "page.html")]),
    ]  # fmt: skip


def calm() -> dict[str, str]:
    """Return an environment in which idle threads yield soon: a busy machine then stays usable."""
    return {"GOMP_SPINCOUNT": "1000", **os.environ}


def launcher(program: str) -> list[str]:
    """Return how to start ``program`` with this interpreter."""
    return [sys.executable] if program == "python" else [sys.executable, "-m", "monai_isles.cli.main"]


if __name__ == "__main__":
    sys.exit(main())
