"""One study from DICOM to every output, in a new process: wall time of the whole, and the share of each part.

The study is simulated (256 x 256 x 8 voxels unless told, at step 16), the command is ``predict-series`` with
``--dicom-out seg sr sc pdf maps``. Start-up and imports are what the process needs beside the timed parts. Two
processor threads, as ``--threads 2`` gives.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import bench

SUBJECT, MOST_S = "study", 60.0
# name of a function in the module that calls it: the part that it does
PARTS = {
    "monai_isles.workflows.perfusion": {
        "read_study": "read DICOM",
        "prepare_series": "frames, movement, masks",
        "measured_maps": "perfusion maps",
        "publish_image": "write NIfTI",
    },
    "monai_isles.workflows.predict_series": {
        "measure_study": "checksums of the source",
        "recipe_of": "load the network",
        "predict_cases": "network and post-processing",
        "publish_results": "threshold rules",
        "publish_image": "write NIfTI",
        "case_page": "page",
        "captures": "pictures",
        "pdf_bytes": "PDF",
        "publish_studies": "table and page of studies, methods",
    },
    "monai_isles.dicom.write": {
        "publish_seg": "SEG",
        "publish_sr": "SR",
        "publish_captures": "secondary captures",
        "publish_pdf": "PDF",
        "publish_maps": "parametric maps",
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """Simulate, run, print and keep the shares."""
    parser = bench.arguments(__doc__, rounds=1, threads=2)
    parser.add_argument("--slices", type=int, default=8, help="of the simulated study (default: 8)")
    parser.add_argument("--child", nargs=2, metavar=("STUDY", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.child:
        return child(args.child, args.threads)
    with tempfile.TemporaryDirectory() as folder:
        source, frames = simulate(Path(folder), 2 if args.quick else args.slices)
        begun = time.perf_counter()
        command = [sys.executable, __file__, "--threads", str(args.threads), "--child", str(source), f"{folder}/out"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        whole = time.perf_counter() - begun
    parts = json.loads(done.stdout.splitlines()[-1])
    parts["start-up and imports"] = whole - sum(parts.values())
    return tell(parts, whole, f"{2 if args.quick else args.slices} slices, {frames} frames", args)


def simulate(folder: Path, slices: int) -> tuple[Path, int]:
    """Write a scan with so many slices as DICOM; return its folder and its number of frames."""
    from monai_isles.phantom import make_case
    from monai_isles.phantom.ct.subject import protocol_of
    from monai_isles.phantom.dicom_writer import write_dicom

    seed = next(seed for seed in range(1000) if protocol_of(0, seed=seed).slices >= slices)
    case = make_case(1, seed=seed, max_slices=slices)
    return write_dicom(case, folder / "study"), len(case.ctp)


def child(places: Sequence[str], threads: int) -> int:
    """Run the command with its parts timed; the last line is their seconds, each without the parts inside it."""
    from importlib import import_module

    from monai_isles.cli.main import main as monai_isles

    seconds: dict[str, float] = {}
    running: list[float] = []  # seconds of the parts inside each part that runs
    for name, known in PARTS.items():
        module = import_module(name)
        for function, part in known.items():
            _time(module, function, part, seconds, running)
    study, out = places
    words = ["--bundle", "clerigues", "--out", out, "--step", "16", "--mc-passes", "1", "--threads", str(threads)]
    done = monai_isles(["predict-series", study, *words, "--dicom-out", "seg", "sr", "sc", "pdf", "maps"])
    print(json.dumps(seconds))
    return done


def _time(module: ModuleType, name: str, part: str, seconds: dict[str, float], running: list[float]) -> None:
    function: Callable[..., Any] = getattr(module, name)

    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        running.append(0.0)
        try:
            return function(*args, **kwargs)
        finally:
            took, inside = time.perf_counter() - begun, running.pop()
            seconds[part] = seconds.get(part, 0.0) + took - inside
            if running:
                running[-1] += took

    setattr(module, name, timed)


def tell(parts: dict[str, float], whole: float, what: str, args: argparse.Namespace) -> int:
    """Print and keep the whole and the share of each part; 1 where the whole took longer than it may."""
    shares = sorted(parts.items(), key=lambda one: -one[1])
    said = ", ".join(f"{part} {took:.1f} s ({100 * took / whole:.0f} %)" for part, took in shares[:5])
    row = {"subject": SUBJECT, "row": f"DICOM to every output, {what}", "said": f"{whole:.1f} s wall; most in {said}"}
    bench.keep(row | {"whole_s": round(whole, 2), "parts_s": {part: round(took, 3) for part, took in shares}}, args)
    return int(whole > MOST_S)


if __name__ == "__main__":
    raise SystemExit(main())
