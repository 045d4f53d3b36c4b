"""Dice of bundles on series that are noisier, sparser, shorter or turned, each beside the series as it was.

``python benchmarks/robustness.py --data DIR --cases 12``; ``monai-isles phantom --variety unseen --cases 24 --seed 2028
--out DIR`` makes the scans. Every bundle has the plain CT and the series; one that reads no series gets the maps of
``monai-isles perfusion``. A scan that is refused counts as Dice 0. Without ``--data`` nothing is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bench
import nibabel
import numpy as np
from scipy import ndimage

from monai_isles import measure_perfusion, segment
from monai_isles.bundle.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.modalities import PERFUSION_MAPS

AIR_HU, REST, ANGLE_DEG, SHARE = -1024.0, 5, 25.0, 0.7


class Scan(NamedTuple):
    """Hold one scan: plain CT and reference (H, W, D), series (H, W, D, T) in HU, its affine and seconds a frame."""

    ct: np.ndarray
    series: np.ndarray
    label: np.ndarray
    affine: np.ndarray
    dt_s: float


def noisy(scan: Scan, rng: np.random.Generator) -> Scan:
    """Double the noise: add differences of frames at rest, mirrored and moved at random, of three times its power."""
    rest = scan.series[..., :REST]
    drawn = [rest[..., i] - rest[..., j] for i, j in (rng.choice(REST, 2, False) for _ in range(scan.series.shape[-1]))]
    moved = [np.roll(one[:: rng.choice([-1, 1])], tuple(rng.integers(-20, 21, 2)), axis=(0, 1)) for one in drawn]
    return scan._replace(series=scan.series + np.sqrt(3 / 2) * np.stack(moved, axis=-1))


def turned(scan: Scan, angle_deg: float = ANGLE_DEG) -> Scan:
    """Turn the head in plane, images linearly, the reference to the nearest voxel."""

    def turn(image: np.ndarray, order: int, outside: float) -> np.ndarray:
        return ndimage.rotate(image, angle_deg, axes=(0, 1), reshape=False, order=order, cval=outside)

    frames = [turn(frame, 1, AIR_HU) for frame in np.moveaxis(scan.series, -1, 0)]
    label = turn(scan.label.astype(np.uint8), 0, 0) > 0
    return scan._replace(ct=turn(scan.ct, 1, AIR_HU), series=np.stack(frames, axis=-1), label=label)


CHANGES: dict[str, Callable[[Scan, np.random.Generator], Scan]] = {
    "as it was": lambda scan, rng: scan,
    "noise x 2": noisy,
    "step x 2": lambda scan, rng: scan._replace(series=scan.series[..., ::2], dt_s=2 * scan.dt_s),
    "last 30 % cut": lambda scan, rng: scan._replace(series=scan.series[..., : round(SHARE * scan.series.shape[-1])]),
    "turned by 25 degrees": lambda scan, rng: turned(scan),
}


def read(folder: Path) -> Scan:
    """Return a scan of the layout of ISLES 2018."""
    images = {key: nibabel.load(next(folder.glob(f"*.{key}.*/*.nii"))) for key in ("CT", "CT_4DPWI", "OT")}
    values = {key: image.get_fdata(dtype=np.float32) for key, image in images.items()}
    dt_s = float(images["CT_4DPWI"].header.get_zooms()[3])
    return Scan(values["CT"], values["CT_4DPWI"], values["OT"] > 0, images["CT"].affine, dt_s)


def dice_of(scan: Scan, names: Sequence[str]) -> dict[str, float]:
    """Return the Dice of every bundle; 0 where it refuses the scan, 1 where mask and reference are empty."""
    series, ct = (nibabel.Nifti1Image(values, scan.affine) for values in (scan.series, scan.ct))
    series.header.set_zooms((*series.header.get_zooms()[:3], scan.dt_s))
    series.header.set_xyzt_units("mm", "sec")
    maps: dict[str, Any] = {}
    found = {}
    for name in names:
        try:
            config = Bundle.open(name).config("inference")
            if "ctp" in config["modalities"]:
                inputs: dict[str, Any] = {"ct": ct, "ctp": series}
            else:
                maps = maps or {key: measured for key, measured in zip(PERFUSION_MAPS, of(series), strict=True)}
                inputs = {"ct": ct, **maps}
            mask = segment(inputs, name, fast="fast_step" in config).array("lesion") > 0
        except (IslesError, RuntimeError) as error:  # MONAI wraps what a transform raises
            refusal = error if isinstance(error, IslesError) else error.__cause__
            if not isinstance(refusal, IslesError):
                raise
            print(f"{name}: {refusal.code}", flush=True)
            found[name] = 0.0
        else:
            total = int(mask.sum() + scan.label.sum())
            found[name] = 2 * int((mask & scan.label).sum()) / total if total else 1.0
    return found


def of(series: nibabel.Nifti1Image) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the perfusion maps of a series, each with its affine."""
    result = measure_perfusion(series)
    return [(result.array(key), result.affine) for key in PERFUSION_MAPS]


def main(words: Sequence[str] | None = None) -> int:
    """Score every change of every scan; print and keep one row a change and bundle."""
    parser = bench.arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of simulated scans with series")
    parser.add_argument("--cases", type=int, default=12, help="the first of them (default: 12)")
    parser.add_argument("--bundles", nargs="+", default=["clerigues", "fusion"], help="default: clerigues fusion")
    args = bench.begin(parser, words)
    if args.data is None:
        print("nothing done: --data names no scans; see the first lines of this file")
        return 0
    folders = [args.data / "TRAINING" / f"case_{n + 1}" for n in range(args.cases)]
    for change, make in CHANGES.items():
        scores = [dice_of(make(read(one), np.random.default_rng(n)), args.bundles) for n, one in enumerate(folders)]
        for name in args.bundles:
            each = [round(one[name], 3) for one in scores]
            said = f"mean Dice {np.mean(each):.3f}, n {len(each)}"
            row = {"subject": "robustness", "row": f"{change}: {name}", "dice": each, "data": args.data.name}
            bench.keep(row | {"mean": round(float(np.mean(each)), 3), "said": said}, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
