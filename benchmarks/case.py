"""Whole cases, maps on disk to report, at the default step; the ensemble on the largest case; how predictions grow.

Simulated scans of 4 and of 22 slices. The first is predicted by the command in a new process, start-up and imports
counted. The ensemble has five networks, the shipped one and four with slightly changed weights; it runs on one and on
two slices of the tall scan, extrapolated to all of them on a line. Growth with slices, step, passes, folds and cases is
measured at a coarser step, in this process.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import bench
import nibabel
import torch

from monai_isles.data import find_inputs
from monai_isles.inference import load_predictor
from monai_isles.io import load_state
from monai_isles.io.weights import publish_state
from monai_isles.phantom import make_dataset
from monai_isles.phantom.ct.subject import protocol_of
from monai_isles.workflows.predict import predict_cases

SUBJECT, BUNDLE = "case", Path(__file__).parents[1] / "bundles" / "clerigues"
LONGEST_S, FOLDS, COARSE = 20.0, 5, 16
Entry = Mapping[str, object]


def scan(folder: Path, slices: int) -> Path:
    """Return the folder of a simulated scan of so many slices."""
    seed = next(seed for seed in range(1000) if protocol_of(0, seed=seed).slices == slices)
    make_dataset(folder / f"slices_{slices}", cases=1, seed=seed, series=False)
    return next((folder / f"slices_{slices}" / "TRAINING").iterdir())


def cropped(case: Path, slices: int, out: Path) -> Path:
    """Return a folder with the same scan, its middle slices alone."""
    for path in sorted(case.rglob("*.nii*")):
        image = nibabel.load(path)
        first = (image.shape[2] - slices) // 2
        target = out / path.relative_to(case.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image.slicer[:, :, first : first + slices], target)
    return out / case.name


def networks(folder: Path) -> list[Path]:
    """Return five state dicts: the shipped one, and four with 1 % of noise on every convolution."""
    made = []
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        state = load_state(BUNDLE / "models" / "model.pt")
        moved = {
            name: value + 0.01 * fold * value.std() * torch.randn_like(value) if value.ndim == 4 else value
            for name, value in state.items()
        }
        made.append(folder / f"fold_{fold}.pt")
        publish_state(made[-1], moved)
    return made


def predicted_s(case: Path, out: Path, threads: int, *more: str) -> float:
    """Return the wall time of ``monai-isles predict`` in a new process."""
    words = ["predict", str(case), "--bundle", str(BUNDLE), "--out", str(out), "--threads", str(threads), *more]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "monai_isles.cli.main", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def entry(case: Path) -> Entry:
    """Return the entry of a case folder."""
    return find_inputs([case], keys=["ct", "cbf", "cbv", "mtt", "tmax"])[0].entry()


def whole(case: Path, slices: int, args: argparse.Namespace, folder: Path) -> None:
    """Keep the wall time of one whole case at the default step."""
    step = [] if not args.quick else ["--step", "32", "--mc-passes", "1"]
    taken = [predicted_s(case, folder / f"whole_{i}", args.threads, *step) for i in range(args.rounds)]
    middle = statistics.median(taken)
    said = f"{middle:.1f} s wall, {min(taken):.1f} to {max(taken):.1f}, imports counted; under {LONGEST_S:g} s wanted"
    row = f"whole case, maps to report, {slices} slices, step 3, 3 passes"
    bench.keep({"subject": SUBJECT, "row": row, "said": said, "seconds": taken, "slices": slices}, args)


def ensemble(case: Path, slices: int, args: argparse.Namespace, folder: Path) -> None:
    """Keep the time of five networks on the tall scan, extrapolated from one and two slices."""
    weights, points = networks(folder), []
    predictor = load_predictor(BUNDLE, folder / "ensemble", weights=weights, device=args.device)
    for count in (1, 2):
        part = entry(cropped(case, count, folder / f"part_{count}"))
        begun = time.perf_counter()
        predictor.predict(part)
        points.append((count, time.perf_counter() - begun))
    a_slice = points[1][1] - points[0][1]
    whole_s = points[0][1] + (slices - 1) * a_slice
    said = (
        f"{whole_s:.0f} s for {slices} slices, extrapolated from {points[0][1]:.1f} s for one and {points[1][1]:.1f} s "
        f"for two; the paper states under two minutes for one network on a GPU"
    )
    row = f"ensemble of {FOLDS}, largest case, step 3, 3 passes, {args.device}"
    bench.keep({"subject": SUBJECT, "row": row, "said": said, "seconds": round(whole_s, 1), "points": points}, args)


def growths(case: Path, args: argparse.Namespace, folder: Path) -> None:
    """Keep how a prediction grows with everything it may have more of."""
    entries = {n: entry(cropped(case, n, folder / f"grow_{n}")) for n in (1, 2, 4, 8)}
    weights = networks(folder)

    def grow(what: str, amounts: Sequence[float], call: Callable[[float], Callable[[], object]]) -> None:
        points = []
        for amount in amounts:
            ready = call(amount)
            points.append((amount, bench.alternate({"ours": ready}, 3).medians["ours"]))
        bench.growth(SUBJECT, what, points, args)

    def network_alone(**given: object) -> Callable[[], object]:
        changes = {"step": [COARSE, COARSE], "mc_passes": 3} | dict(given.get("changes", {}))
        chosen = weights[: int(given.get("folds", 1))]
        predictor = load_predictor(BUNDLE, folder / "grown", weights=chosen, changes=changes)
        data = predictor.prepare(entries[int(given.get("slices", 2))])
        return lambda: predictor.run_networks(data)

    def whole_cases(count: float) -> Callable[[], object]:
        predictor = load_predictor(BUNDLE, folder / "grown", changes={"step": [COARSE, COARSE]})
        cases = [dict(entries[2]) | {"case": f"case_{i}"} for i in range(int(count))]
        turn = iter(range(1000))
        return lambda: predict_cases(predictor, cases, folder / "cases" / str(count) / str(next(turn)))

    grow("slices", (1, 2, 4, 8), lambda n: network_alone(slices=n))
    grow("windows along an axis", (8, 16, 32), lambda n: network_alone(changes={"step": [256 // int(n)] * 2}))
    grow("passes", (1, 2, 3, 6), lambda n: network_alone(changes={"mc_passes": int(n)}))
    grow("folds", (1, 2, 3, 5), lambda n: network_alone(folds=n))
    grow("cases", (1, 2, 4), whole_cases)


def main(words: Sequence[str] | None = None) -> int:
    """Report the whole case, the ensemble and the growths."""
    parser = bench.arguments(__doc__, rounds=2, threads=2)
    parser.add_argument("--device", default="cpu", help="of the ensemble: cpu or cuda (default: cpu)")
    args = bench.begin(parser, words)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        depth = 2 if args.quick else 4
        whole(scan(folder, depth), depth, args, folder)
        if not args.quick:
            tall = scan(folder, 22)
            ensemble(tall, 22, args, folder)
            growths(tall, args, folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
