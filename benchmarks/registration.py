"""Mirrored-head registration: our methods against ITK from an identity start, on phantom heads of known pose.

Prints, for every number of slices and method, the median and largest mean landmark error in pixels, how many heads are
within one pixel, how many were refused, seconds a head, and the error relative to ITK from identity. Simulated data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from monai_isles.errors import IslesError
from monai_isles.phantom import Head, head_with_pose
from monai_isles.transforms import Mirror, reflection, register_mirror
from monai_isles.transforms.alignment_itk import itk_mirror
from monai_isles.transforms.mirror import Plane
from monai_isles.transforms.registration import CT_WINDOW, METHODS, scaled

REFERENCE = "itk from identity"


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
    plane = Plane.centred(head.ct.shape[:2], head.spacing_mm[:2])
    left, right = head.landmarks.swapaxes(0, 1)[..., :2]
    return float(
        np.mean(
            [
                np.linalg.norm(plane.pixels(mirror(plane.origin_mm + a * plane.spacing_mm)) - b, axis=1)
                for a, b in ((left, right), (right, left))
            ]
        )
    )


def from_identity(head: Head) -> Mirror:
    """Return what ITK finds from the plain flip, on the mean projection at full resolution, nothing checked."""
    plane = Plane.centred(head.ct.shape[:2], head.spacing_mm[:2])
    return itk_mirror(scaled(head.ct, CT_WINDOW, where="benchmark").mean(axis=2), plane, reflection(0.0, 0.0))


def ways() -> dict[str, Callable[[Head], Mirror]]:
    """Return every way to a mirror: not registering, the reference, and our methods."""
    ours = {name: (lambda h, n=name: register_mirror(h.ct, h.spacing_mm[:2], method=n).mirror) for name in METHODS}
    return {"plain flip": lambda head: reflection(0.0, 0.0), REFERENCE: from_identity, **ours}


def measured(way: Callable[[Head], Mirror], group: list[Head]) -> dict[str, float]:
    """Return the errors and the time of one way on one group of heads."""
    errors, refused, seconds = [], 0, []
    for head in group:
        start = time.perf_counter()
        try:
            mirror = way(head)
        except IslesError:
            refused += 1
            continue
        finally:
            seconds.append(time.perf_counter() - start)
        errors.append(error_px(mirror, head))
    errors = errors or [float("nan")]
    return {
        "heads": len(group),
        "median_px": statistics.median(errors),
        "max_px": max(errors),
        "within_1_px": sum(error <= 1 for error in errors),
        "refused": refused,
        "seconds": statistics.median(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    start = time.perf_counter()
    from_identity(heads(1, 1, args.seed)[0])
    rows = []
    loading = time.perf_counter() - start
    for slices in args.slices:
        group = heads(args.heads, slices, args.seed)
        row = {name: measured(way, group) for name, way in ways().items()}
        for name, numbers in row.items():
            ratio = numbers["median_px"] / row[REFERENCE]["median_px"]
            rows.append({"slices": slices, "method": name, **numbers, "error_ratio": ratio})
    if args.json:
        print(json.dumps({"itk_first_call_s": loading, "rows": rows}, indent=2))
        return
    print(
        f"{'slices':>6} {'method':18} {'heads':>5} {'median px':>9} {'max px':>7} {'<= 1 px':>7} {'refused':>7} "
        f"{'s/head':>7} {'ratio':>6}"
    )
    for r in rows:
        print(
            f"{r['slices']:6d} {r['method']:18} {r['heads']:5d} {r['median_px']:9.2f} {r['max_px']:7.2f} "
            f"{r['within_1_px']:7d} {r['refused']:7d} {r['seconds']:7.3f} {r['error_ratio']:6.2f}"
        )
    print(f"ITK's first call, its classes loaded: {loading:.1f} s")


if __name__ == "__main__":
    main()
