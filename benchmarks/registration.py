"""Mirrored-head registration: ours against ITK's Mattes information from an identity start, heads of known pose.

Every round is a new process a method, so that ITK pays for loading its registration classes, as a prediction does; the
process registers all heads of one to sixteen slices. A failure is a head refused or more than two pixels off, in the
mean of its mirrored landmarks; ours may not fail more often. Then, one line a number of slices and method: median and
largest error, heads within one pixel, refused ones and seconds a head once all is loaded. Last, one line a kind of
head that is not its own mirror image: how well the check tells good mirrors from bad ones. Simulated data.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import bench
import numpy as np
from posed_heads import Head, head_with_pose

from monai_isles.errors import IslesError
from monai_isles.phantom.ct.anatomy import Pose
from monai_isles.transforms import reflection, register_mirror
from monai_isles.transforms.alignment import itk_mirror
from monai_isles.transforms.mirror import Grid, Mirror
from monai_isles.transforms.registration import CT_WINDOW, METHODS, SETTINGS, middle_mm, scale_head

SUBJECT, REFERENCE, DEFAULT, FAILURE_PX = "registration", "ITK from identity", "rigid", 2.0
STILL = Pose(0.0, (0.0, 0.0), 0.0, 0.0)


def heads(count: int, slices: int, first_seed: int) -> list[Head]:
    """Return heads with a large lesion on one side, tilted up to 15 degrees and shifted up to 20 pixels."""
    made = []
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng([seed, 77])
        tilt_deg, shift, way = rng.uniform(-15, 15), rng.uniform(0, 20), rng.uniform(0, 2 * np.pi)
        made.append(
            head_with_pose(
                seed=seed,
                tilt_deg=tilt_deg,
                shift_px=(shift * np.cos(way), shift * np.sin(way)),
                slices=slices,
                lesion="left" if seed % 2 else "right",
            )
        )
    return made


def error_px(mirror: Mirror, head: Head) -> float:
    """Return the mean distance between mirrored landmarks and their true counterparts, both ways."""
    grid = Grid.centred(head.ct.shape[:2], head.spacing_mm[:2])
    spacing, origin = np.array(grid.spacing_mm), np.array(grid.origin_mm)
    left, right = head.landmarks.swapaxes(0, 1)[..., :2]
    both = ((left, right), (right, left))
    return float(np.mean([np.linalg.norm(grid.voxels(mirror(origin + a * spacing)) - b, axis=1) for a, b in both]))


def from_identity(head: Head) -> Mirror:
    """Return what ITK finds from the plain flip, on the mean projection at full resolution, nothing checked."""
    plane = Grid.centred(head.ct.shape[:2], head.spacing_mm[:2])
    return itk_mirror(scale_head(head.ct, CT_WINDOW, where="benchmark").mean(axis=2), plane, reflection(0.0, 0.0))


def ways() -> dict[str, Callable[[Head], Mirror]]:
    """Return every way to a mirror: not registering, the reference, and our methods, the default last."""
    ours = {name: (lambda h, n=name: register_mirror(h.ct, h.spacing_mm[:2], method=n).mirror) for name in METHODS}
    ours[DEFAULT] = ours.pop(DEFAULT)
    return {"plain flip": lambda head: reflection(0.0, 0.0), REFERENCE: from_identity, **ours}


def registered(way: Callable[[Head], Mirror], group: Sequence[Head]) -> tuple[list[float], list[float]]:
    """Return the error in pixels, infinite where refused, and the seconds of every head."""
    errors, seconds = [], []
    for head in group:
        start = time.perf_counter()
        try:
            mirror = way(head)
        except IslesError:
            mirror = None
        seconds.append(time.perf_counter() - start)
        errors.append(math.inf if mirror is None else error_px(mirror, head))
    return errors, seconds


def failures(errors: Sequence[float]) -> int:
    """Count the heads that are refused or more than ``FAILURE_PX`` off."""
    return sum(error > FAILURE_PX for error in errors)


def saved(path: Path, groups: Sequence[Head]) -> None:
    """Write what a registration and its scoring need of each head."""
    parts = {"ct": lambda h: h.ct, "landmarks": lambda h: h.landmarks, "spacing_mm": lambda h: h.spacing_mm}
    np.savez(path, **{f"{i}.{key}": part(head) for i, head in enumerate(groups) for key, part in parts.items()})


def loaded(path: Path) -> list[Head]:
    """Return the heads that ``saved`` wrote."""
    with np.load(path) as found:
        numbers = sorted({int(key.split(".")[0]) for key in found})
        return [
            Head(
                found[f"{i}.ct"], found[f"{i}.ct"] > 0, tuple(found[f"{i}.spacing_mm"]), found[f"{i}.landmarks"], STILL
            )
            for i in numbers
        ]


def in_a_process(path: Path, name: str) -> dict[str, list[float]]:
    """Return the errors and seconds of all heads by one method in a new process; the first loads what it needs."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(path), name], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(groups: dict[int, list[Head]], args: argparse.Namespace) -> None:
    """Keep one line a number of slices and method: errors, failures, seconds once ITK is loaded."""
    registered(ways()[REFERENCE], next(iter(groups.values()))[:1])
    for slices, group in groups.items():
        for name, way in ways().items():
            errors, seconds = registered(way, group)
            good = [error for error in errors if math.isfinite(error)] or [math.nan]
            record = {
                "slices": slices, "method": name, "heads": len(group), "median_px": round(statistics.median(good), 2),
                "largest_px": round(max(good), 2), "within_1_px": sum(error <= 1 for error in errors),
                "refused": sum(map(math.isinf, errors)), "seconds_a_head": round(statistics.median(seconds), 3),
            }  # fmt: skip
            said = (
                f"{record['median_px']:.2f} px, at most {record['largest_px']:.2f}; {record['within_1_px']} of "
                f"{len(group)} within 1 px, {record['refused']} refused; {record['seconds_a_head']:.3f} s a head"
            )
            bench.keep(
                {"subject": SUBJECT, "row": f"{slices} slice{'s' * (slices > 1)}, {name}", "said": said, **record}, args
            )


def hard_heads(kind: str, count: int, first_seed: int) -> list[Head]:
    """Return heads that are not their own mirror image: struck, operated on, rolled, or cut off by the array.

    Every one is tilted up to 15 degrees and shifted up to 20 pixels; two or eight slices by turns. A ``rolled`` head is
    rolled by 8 to 20 degrees beside a large stroke; ``cut 25`` misses 25 mm of the left or of the right side.
    """
    made = []
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng([seed, 99])
        tilt_deg, shift, way = rng.uniform(-15, 15), rng.uniform(0, 20), rng.uniform(0, 2 * np.pi)
        head = head_with_pose(
            seed=seed,
            tilt_deg=tilt_deg,
            shift_px=(shift * np.cos(way), shift * np.sin(way)),
            slices=(2, 8)[seed % 2],
            lesion="left" if seed % 2 else "right",
            change="stroke"
            if kind == "rolled"
            else kind
            if kind in ("stroke", "cavity", "craniectomy")
            else "hypodense",
            roll_deg=rng.uniform(8, 20) * rng.choice([-1, 1]) if kind == "rolled" else 0.0,
        )
        made.append(cut_off(head, float(kind.split()[1]), left=seed % 4 < 2) if kind.startswith("cut") else head)
    return made


def cut_off(head: Head, width_mm: float, *, left: bool) -> Head:
    """Return the head without the array's columns up to ``width_mm`` inside its left or right edge."""
    columns = np.flatnonzero((head.ct > -200).any(axis=(1, 2)))
    inside = round(width_mm / head.spacing_mm[0])
    first, last = (columns[0] + inside, len(head.ct)) if left else (0, columns[-1] - inside)
    moved = head.landmarks - np.array([first, 0, 0])
    return replace(head, ct=head.ct[first:last], brain=head.brain[first:last], landmarks=moved)


HARD = ("stroke", "cavity", "craniectomy", "rolled", "cut 10", "cut 25", "cut 40", "cut 55")


def gate(args: argparse.Namespace) -> None:
    """Keep one line a kind of hard head: error and agreement of its mirror with the check left out, and the way out."""
    checked = SETTINGS[2]
    for kind in HARD:
        rows = []
        for head in hard_heads(kind, args.heads, args.seed):
            SETTINGS[2] = replace(checked, least_overlap=-1.0, least_similarity=-2.0)
            found = register_mirror(head.ct, head.spacing_mm[:2])
            SETTINGS[2] = checked
            middle = reflection(0.0, middle_mm(scale_head(head.ct, CT_WINDOW, where=kind), head.spacing_mm))
            passed = found.overlap >= checked.least_overlap and found.similarity >= checked.least_similarity
            rows.append((error_px(found.mirror, head), error_px(middle, head), found.similarity, passed))
        errors, middles, alike, passed = map(list, zip(*rows, strict=True))
        refused = [error for error, good in zip(errors, passed, strict=True) if not good]
        record = {
            "kind": kind, "heads": len(rows), "median_px": round(statistics.median(errors), 2),
            "largest_px": round(max(errors), 2), "midline_median_px": round(statistics.median(middles), 2),
            "least_similarity": round(min(alike), 2), "refused": len(refused),
        }  # fmt: skip
        px = f"{record['median_px']:.2f} px, at most {record['largest_px']:.2f}"
        off = f", {', '.join(f'{error:.0f}' for error in refused)} px off" if refused else ""
        said = (
            f"{px} (midline {record['midline_median_px']:.2f}); similarity from {record['least_similarity']:.2f}; "
            f"{len(refused)} of {len(rows)} refused{off}"
        )
        bench.keep({"subject": SUBJECT, "row": f"hard heads, {kind}", "said": said, **record}, args)


def main(words: Sequence[str] | None = None) -> int:
    """Report the time and the failures of the reference and of the default, then every method's line."""
    parser = bench.arguments(__doc__, rounds=2)
    parser.add_argument("--heads", type=int, default=10, help="heads a number of slices (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first head (default: 0)")
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 2, 4, 16], help="default: 1 2 4 16")
    parser.add_argument("--child", nargs=2, metavar=("HEADS", "METHOD"), help=argparse.SUPPRESS)
    args = bench.begin(parser, words)
    if args.child:
        errors, seconds = registered(ways()[args.child[1]], loaded(Path(args.child[0])))
        print(json.dumps({"errors": errors, "seconds": seconds}))
        return 0
    count, depths = (1, [1]) if args.quick else (args.heads, args.slices)
    groups = {slices: heads(count, slices, args.seed) for slices in depths}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heads.npz"
        saved(path, [head for group in groups.values() for head in group])
        found: dict[str, list[dict[str, list[float]]]] = {REFERENCE: [], DEFAULT: []}
        for _ in range(1 if args.quick else args.rounds):
            for name, rounds in found.items():
                rounds.append(in_a_process(path, name))
    times = bench.timed({name: [sum(one["seconds"]) for one in rounds] for name, rounds in found.items()})
    failed = {name: failures(rounds[-1]["errors"]) for name, rounds in found.items()}
    first = bench.timed({name: [one["seconds"][0] for one in rounds] for name, rounds in found.items()})
    number = count * len(depths)
    judged = {"difference": max(0, failed[DEFAULT] - failed[REFERENCE]), "tolerance": 0, "wanted": 5}
    more = {"failures": failed, "failure_px": FAILURE_PX}
    agreed = True
    for row, taken in (("registration of one mirrored head", first), (f"registration of {number} heads", times)):
        agreed &= bench.report(SUBJECT, f"{row}, loading counted", taken, args, **judged, **more)
    said = " against ".join(f"{failed[name]} of {number} by {name}" for name in found)
    bench.keep({"subject": SUBJECT, "row": f"heads more than {FAILURE_PX:g} px off", "said": said, **more}, args)
    if args.quick:
        return bench.outcome(agreed)
    table(groups, args)
    gate(args)
    points = []
    for slices, group in groups.items():
        seconds = registered(ways()[DEFAULT], group)[1]
        points.append((slices, statistics.median(seconds)))
    bench.growth(SUBJECT, "slices", points, args)
    return bench.outcome(agreed)


if __name__ == "__main__":
    raise SystemExit(main())
