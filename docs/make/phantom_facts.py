"""Print what a phantom folder holds: slice counts, lesion volumes, and how far single thresholds get on it."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

_RCBF, _TMAX = np.round(np.arange(0.1, 0.61, 0.05), 2), np.arange(3.0, 15.1, 1.0)


def main() -> None:
    """Read the folder case by case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--smooth-mm", type=float, default=0.0, help="sigma of in-plane smoothing of the flow map before the cut"
    )
    args = parser.parse_args()
    cases = sorted((args.folder / "TRAINING").iterdir(), key=lambda p: int(p.name.split("_")[1]))
    rows = [
        _one(case, json.loads((args.folder / "truth" / f"{case.name}.json").read_text()), args.smooth_mm)
        for case in cases
    ]
    volumes = np.array([r["ml"] for r in rows])
    rcbf, tmax, both = (np.array([r[k] for r in rows]) for k in ("rcbf", "tmax", "both"))
    print(f"cases {len(rows)}; slices {dict(sorted(Counter(r['slices'] for r in rows).items()))}")
    print(
        "lesion ml: min {:.1f}, quartiles {:.1f} {:.1f} {:.1f}, max {:.1f}".format(
            volumes.min(), *np.percentile(volumes, [25, 50, 75]), volumes.max()
        )
    )
    at30 = rcbf[:, list(_RCBF).index(0.3)]
    print(
        f"rCBF < 30 %: mean Dice {at30.mean():.3f} +- {at30.std():.3f}, "
        f"quartiles {np.round(np.percentile(at30, [25, 50, 75]), 2)}"
    )
    for name, scores, cuts in (
        ("rCBF <", rcbf, _RCBF),
        ("Tmax >", tmax, _TMAX),
        ("rCBF < 0.4 and Tmax >", both, _TMAX),
    ):
        mean = scores.mean(0)
        print(f"best single cut tuned in sample: {name} {cuts[mean.argmax()]:.2f}: mean Dice {mean.max():.3f}")
    six = tmax[:, list(_TMAX).index(6.0)]
    print(
        f"Tmax > 6 s: mean Dice {six.mean():.3f}; "
        f"median ratio of Tmax > 6 s volume to lesion {np.median([r['ratio6'] for r in rows]):.2f}"
    )
    print(f"best cut of each case (oracle): rCBF {rcbf.max(1).mean():.3f}, Tmax {tmax.max(1).mean():.3f}")


def _one(case: Path, truth: dict, smooth_mm: float) -> dict:
    image = {
        p.name.split(".")[4]: nibabel.as_closest_canonical(nibabel.load(next(p.iterdir()))) for p in case.iterdir()
    }
    data = {k: np.maximum(np.nan_to_num(np.asanyarray(v.dataobj)), 0) for k, v in image.items() if k != "CT_4DPWI"}
    spacing = image["CT"].header.get_zooms()
    flow, tmax, label = data["CT_CBF"].astype(np.float32), data["CT_Tmax"], data["OT"] > 0
    brain = sum(data[k] for k in ("CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")) > 0
    if smooth_mm:
        sigma = (smooth_mm / spacing[0], smooth_mm / spacing[1], 0)
        flow = (
            ndimage.gaussian_filter(flow * brain, sigma)
            / np.maximum(ndimage.gaussian_filter(brain.astype(np.float32), sigma), 1e-3)
            * brain
        )
    pairs = np.array(truth["landmarks_vox"])  # left point first
    (across, along), middle = (pairs[:, 1] - pairs[:, 0]).mean(0)[:2], pairs.mean((0, 1))[:2]
    x, y = np.meshgrid(*map(np.arange, label.shape[:2]), indexing="ij")
    right = ((x - middle[0]) * across + (y - middle[1]) * along) > 0
    healthy = (right if truth["side"] == "left" else ~right)[..., None] & brain
    relative = flow / flow[healthy].mean()
    both = (relative < 0.4) & brain
    low = [brain & (relative < c) for c in _RCBF]
    late = [tmax > c for c in _TMAX]
    return {
        "slices": label.shape[2],
        "ml": label.sum() * float(np.prod(spacing)) / 1000,
        "rcbf": [_dice(m, label) for m in low],
        "tmax": [_dice(m, label) for m in late],
        "both": [_dice(m & both, label) for m in late],
        "ratio6": (tmax > 6).sum() / max(label.sum(), 1),
    }


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1.0)


if __name__ == "__main__":
    main()
