"""Maps of simulated series against their truth: the default beside the other methods, with n.

Three kinds of series: the package's phantom, a second head that shares no code with it, and tiles after Kudo; see
``perfusion_series``. The seeds begin at ``FIRST_SEED``, which no setting was chosen on. Every head is measured as it
is; those of a frame a second (2 and 8 slices) at twice the noise and at steps of 2 s too.

``python benchmarks/perfusion_accuracy.py --heads 12 --phantoms 6 --tiles 2``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import bench
import numpy as np
from perfusion_series import SCANNERS, Series, head, tiles

from monai_isles.perfusion import PerfusionMaps, measured_maps
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.perfusion.thresholds import contralateral_side, ischaemia, relative_cbf, upright_hemispheres

sys.path.append(str(Path(__file__).parents[1] / "docs/make"))
from true_perfusion import case_with_truth

SUBJECT, FIRST_SEED = "perfusion_accuracy", 1000
WAYS = ("bcsvd", "osvd", "tikhonov", "bayes", "learned")
REMARKS = ("late-artery", "partial-volume", "weak-vof", "high-volume")  # those that say that CBV may be off
Row = dict[str, float]


def phantom(number: int, *, seed: int, max_slices: int = 4) -> Series:
    """Return a scan of the package's phantom and its truth as a ``Series``."""
    case, true = case_with_truth(number, seed=seed, max_slices=max_slices)
    brain = (true.matter > 0.9) & (true.artery + true.vein < 0.01)
    left = np.arange(brain.shape[0])[:, None, None] < brain.shape[0] / 2
    healthy = brain & (left if case.truth["side"] == "right" else ~left)
    core = brain & (true.cbf < 0.3 * true.cbf[healthy].mean())
    name = f"phantom {number}, {true.acquisition.kind}"
    maps = (true.cbf, true.cbv, true.delay)
    return Series(name, case.ctp, case.spacing_mm, case.dt_s, *maps, brain, core, healthy, true.blood_hu)


def scored(one: Series, maps: PerfusionMaps) -> Row:
    """Return how far the maps are from the truth, on brain without vessels; volumes in ml."""
    both, voxel_ml = maps.brain & one.brain, float(np.prod(one.spacing_mm)) / 1000
    row = {
        "r_cbf": _r(maps.cbf[both], one.cbf[both]),
        "r_cbv": _r(maps.cbv[both], one.cbv[both]),
        "r_mtt": _r(maps.mtt[both], 60.0 * one.cbv[both] / np.maximum(one.cbf[both], 1e-3)),
        "cbf": float(np.median(maps.cbf[both]) / np.median(one.cbf[both])),
        "cbv": float(np.median(maps.cbv[both]) / np.median(one.cbv[both])),
        "r_tmax": _r(maps.tmax[both], one.delay_s[both]),
        "lead_s": float(np.median(maps.ttp[maps.brain]) - int(maps.aif.argmax()) * one.dt_s),
        "warned": float(
            any(flag.code in ("late-artery", "partial-volume", "weak-vof", "high-volume") for flag in maps.quality)
        ),
        "led": float(maps.artery_leads),
    }
    if one.core.any():
        healthy = contralateral_side(maps.tmax, maps.brain, upright_hemispheres(maps.brain))
        core = ischaemia(maps.cbf, maps.tmax, maps.brain, one.spacing_mm, contralateral=healthy).core
        relative = relative_cbf(maps.cbf, maps.brain, healthy)
        here = one.core & maps.brain
        row["true_core_ml"], row["core_ml"] = float(one.core.sum() * voxel_ml), float(core.sum() * voxel_ml)
        row["dice"] = float(2 * (core & one.core).sum() / (core.sum() + one.core.sum()))
        row["rcbf"] = float(np.median(relative[here]) / np.median(one.cbf[here] / one.cbf[one.healthy].mean()))
    return row


def _r(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def measured(series: Iterator[Series], ways: Sequence[str]) -> dict[str, list[Row]]:
    """Return one row a series for every way."""
    rows: dict[str, list[Row]] = {way: [] for way in ways}
    for one in series:
        prepared = prepare_series(one.hu, spacing_mm=one.spacing_mm, dt_s=one.dt_s)
        for way in ways:
            begun = time.perf_counter()
            maps = measured_maps(prepared, method=way)
            taken = time.perf_counter() - begun
            rows[way].append(scored(one, maps) | {"s": taken, "slices": one.hu.shape[3]})
    return rows


def told(kind: str, way: str, rows: Sequence[Row]) -> dict[str, object]:
    """Return the medians and counts of one kind of series by one way."""
    found: dict[str, object] = {"subject": SUBJECT, "row": f"{kind}: {way}", "kind": kind, "way": way, "n": len(rows)}
    for key in ("r_cbf", "r_cbv", "r_mtt", "cbf", "cbv", "r_tmax", "rcbf", "dice", "s"):
        values = [row[key] for row in rows if key in row]
        if values:
            found[f"{key}_median"] = round(float(np.median(values)), 3)
    cored = [row for row in rows if "core_ml" in row]
    if cored:
        found["core_mae_ml"] = round(float(np.mean([abs(row["core_ml"] - row["true_core_ml"]) for row in cored])), 2)
        found["core_ml"] = round(sum(row["core_ml"] for row in cored), 1)
        found["true_core_ml"] = round(sum(row["true_core_ml"] for row in cored), 1)
        found["core_errors_ml"] = [round(row["core_ml"] - row["true_core_ml"], 1) for row in cored]
        found["dice_mean"] = round(float(np.mean([row["dice"] for row in cored])), 3)
    found["r_tmax_worst"] = round(min(row["r_tmax"] for row in rows), 3)
    found["cbv_within_20"] = sum(abs(row["cbv"] - 1) <= 0.2 for row in rows)
    found["cbv_off_and_remarked"] = sum(abs(row["cbv"] - 1) > 0.2 and row["warned"] > 0 for row in rows)
    found["artery_leads"] = sum(row["lead_s"] >= 1.5 or not row["led"] for row in rows)
    return found


def pairs(kind: str, one: dict[str, list[Row]], other: dict[str, list[Row]], key: str) -> Iterator[dict[str, object]]:
    """Return the median of the ratio of ``key`` between two measurements of the same series, by way."""
    for way in one:
        ratios = [b[key] / a[key] for a, b in zip(one[way], other[way], strict=True) if a.get(key)]
        if not ratios:
            continue
        spread = [round(float(value), 3) for value in (min(ratios), np.median(ratios), max(ratios))]
        yield {
            "subject": SUBJECT,
            "row": f"{kind}: {way}",
            "kind": kind,
            "way": way,
            "n": len(ratios),
            "least_median_most": spread,
        }


def main(words: Sequence[str] | None = None) -> int:
    """Measure every kind of series by every way and keep a row for each."""
    parser = bench.arguments(__doc__)
    parser.add_argument("--heads", type=int, default=24, help="second heads (default: 24)")
    parser.add_argument("--phantoms", type=int, default=6, help="scans of the phantom (default: 6)")
    parser.add_argument("--tiles", type=int, default=2, help="phantoms of tiles (default: 2)")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="methods (default: all)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help=f"of every kind (default: {FIRST_SEED})")
    args = bench.begin(parser, words)
    heads, scans, tiled, size = (1, 0, 1, 80) if args.quick else (args.heads, args.phantoms, args.tiles, 160)
    seeds = range(args.first_seed, args.first_seed + heads)
    side, last = 8 if args.quick else 16, args.first_seed + tiled
    plain = measured((head(seed, size=size) for seed in seeds), args.ways)
    _keep("second head", plain, args)
    _keep("tiles", measured((tiles(seed, side=side) for seed in range(args.first_seed, last)), args.ways), args)
    _keep("phantom", measured((phantom(n, seed=args.first_seed) for n in range(1, scans + 1)), args.ways), args)
    some = [seed for seed in seeds if SCANNERS[seed % len(SCANNERS)][2] == 1.0]
    first = {way: [rows[seed - args.first_seed] for seed in some] for way, rows in plain.items()}
    noisy = measured((head(seed, size=size, noise=2.0) for seed in some), args.ways)
    slow = measured((head(seed, size=size, dt_s=2.0) for seed in some), args.ways)
    for row in (
        *pairs("core at twice the noise", first, noisy, "core_ml"),
        *pairs("flow at 2 s steps over 1 s", first, slow, "cbf"),
    ):
        bench.keep(row, args)
    return 0


def _keep(kind: str, rows: dict[str, list[Row]], args: argparse.Namespace) -> None:
    for way, found in rows.items():
        if found:
            bench.keep(told(kind, way, found), args)


if __name__ == "__main__":
    raise SystemExit(main())
