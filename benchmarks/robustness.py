"""Dice of bundles on series that are noisier, sparser, shorter or turned, on maps of eight programs, and by inputs.

``python benchmarks/robustness.py --data DIR --cases 12``; ``monai-isles phantom --variety unseen --cases 24 --seed 2028
--out DIR`` makes the scans. Every bundle has the plain CT and the series; one that reads no series gets the maps of
``monai-isles perfusion``. With ``--map-software`` every bundle has the plain CT and the maps of one program at a time,
and no series. With ``--inputs`` they have the scan's own maps, its series, both, and no CT (for ``fusion``). A scan
that is refused counts as Dice 0. Without ``--data`` nothing is done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache
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
from monai_isles.perfusion.maps import measured_maps
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.phantom.atlas import TABLES

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
    "unchanged": lambda scan, rng: scan,
    "noise x 2": noisy,
    "step x 2": lambda scan, rng: scan._replace(series=scan.series[..., ::2], dt_s=2 * scan.dt_s),
    "last 30 % cut": lambda scan, rng: scan._replace(series=scan.series[..., : round(SHARE * scan.series.shape[-1])]),
    "turned by 25 degrees": lambda scan, rng: turned(scan),
}

# Settings of ``perfusion_maps``; the last two are those that ``--variety real`` never has.
SOFTWARES: dict[str, dict[str, Any]] = {
    "bcsvd 0.10": {"method": "bcsvd", "truncation": 0.10},
    "bcsvd 0.20": {"method": "bcsvd", "truncation": 0.20},
    "osvd 0.035": {"method": "osvd", "truncation": 0.035},
    "tikhonov 0.10": {"method": "tikhonov", "truncation": 0.10},
    "ssvd 0.15": {"method": "ssvd", "truncation": 0.15},
    "bayes": {"method": "bayes"},
    "tikhonov gcv": {"method": "tikhonov", "truncation": "gcv"},
    "stikhonov 0.14": {"method": "stikhonov", "truncation": 0.14},
}


INPUTS = {
    "maps and CT": ("ct", *PERFUSION_MAPS),
    "maps, no CT": PERFUSION_MAPS,
    "series alone": ("ctp",),
    "maps, CT and series": ("ct", *PERFUSION_MAPS, "ctp"),
}


def read(folder: Path) -> Scan:
    """Return a scan of the layout of ISLES 2018."""
    images = {key: nibabel.load(next(folder.glob(f"*.{key}.*/*.nii"))) for key in ("CT", "CT_4DPWI", "OT")}
    values = {key: image.get_fdata(dtype=np.float32) for key, image in images.items()}
    dt_s = float(images["CT_4DPWI"].header.get_zooms()[3])
    return Scan(values["CT"], values["CT_4DPWI"], values["OT"] > 0, images["CT"].affine, dt_s)


def dice_by_series(scan: Scan, names: Sequence[str]) -> dict[str, float]:
    """Return the Dice of every bundle with the CT and the series, or the default's maps of it."""
    ct, series = (nibabel.Nifti1Image(values, scan.affine) for values in (scan.ct, scan.series))
    series.header.set_zooms((*series.header.get_zooms()[:3], scan.dt_s))
    series.header.set_xyzt_units("mm", "sec")

    @cache
    def maps() -> dict[str, Any]:
        result = measure_perfusion(series)
        return {key: (result.array(key), result.affine) for key in PERFUSION_MAPS}

    reads = {name: "ctp" in Bundle.open(name).config("inference")["modalities"] for name in names}
    return {
        name: dice_of(scan, name, lambda name=name: {"ct": ct} | ({"ctp": series} if reads[name] else maps()))
        for name in names
    }


def dice_by_software(scan: Scan, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return by software the Dice of every bundle with the CT and that software's maps."""
    spacing = tuple(nibabel.affines.voxel_sizes(scan.affine).tolist())
    prepared = prepare_series(np.moveaxis(scan.series, -1, 0), dt_s=scan.dt_s, spacing_mm=spacing)
    found = {}
    for software, settings in SOFTWARES.items():
        measured = measured_maps(prepared, smoothing_mm=3.0, **settings)
        inputs = {"ct": (scan.ct, scan.affine)} | {key: (getattr(measured, key), scan.affine) for key in PERFUSION_MAPS}
        found[software] = {name: dice_of(scan, name, lambda inputs=inputs: inputs) for name in names}
    return found


def dice_by_inputs(folder: Path, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return by inputs the Dice of every bundle with the files of a scan."""
    scan = read(folder)
    files = {key: next(folder.glob(f"*.{TABLES['isles2018'][key]}.*/*.nii")) for key in ("ct", *PERFUSION_MAPS, "ctp")}
    return {
        title: {name: dice_of(scan, name, lambda used=used: {key: files[key] for key in used}) for name in names}
        for title, used in INPUTS.items()
    }


def dice_of(scan: Scan, name: str, inputs: Callable[[], dict[str, Any]]) -> float:
    """Return the Dice of a bundle; 0 where it refuses the scan, 1 where mask and reference are empty."""
    try:
        mask = segment(inputs(), name, fast="fast_step" in Bundle.open(name).config("inference")).array("lesion") > 0
    except (IslesError, RuntimeError) as error:  # MONAI wraps what a transform raises
        refusal = error if isinstance(error, IslesError) else error.__cause__
        if not isinstance(refusal, IslesError):
            raise
        print(f"{name}: {refusal.code}", flush=True)
        return 0.0
    total = int(mask.sum() + scan.label.sum())
    return 2 * int((mask & scan.label).sum()) / total if total else 1.0


def main(words: Sequence[str] | None = None) -> int:
    """Score every change, or every software, of every scan; print and keep one row each and bundle."""
    parser = bench.arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of simulated scans with series")
    parser.add_argument("--cases", type=int, default=12, help="the first of them (default: 12)")
    parser.add_argument("--bundles", nargs="+", default=["clerigues", "fusion"], help="default: clerigues fusion")
    parser.add_argument("--map-software", action="store_true", help="maps of eight programs instead of changed series")
    parser.add_argument("--inputs", action="store_true", help="the scan's own maps, series, both, and no CT instead")
    args = bench.begin(parser, words)
    if args.data is None:
        print("nothing done: --data names no scans; see the first lines of this file")
        return 0
    folders = [args.data / "TRAINING" / f"case_{n + 1}" for n in range(args.cases)]
    if absent := [str(folder) for folder in folders if not folder.is_dir()]:
        parser.error(f"--data {args.data} lacks {len(absent)} of {len(folders)} scans, first {absent[0]}")
    if args.inputs:
        by_folder = [dice_by_inputs(folder, args.bundles) for folder in folders]
        for title in INPUTS:
            keep(f"inputs {title}", [scores[title] for scores in by_folder], args)
        return 0
    scans = [read(folder) for folder in folders]
    if args.map_software:
        by_scan = [dice_by_software(scan, args.bundles) for scan in scans]
        for software in SOFTWARES:
            keep(f"software {software}", [scores[software] for scores in by_scan], args)
        return 0
    for change, make in CHANGES.items():
        draws = (np.random.default_rng(n) for n in range(len(scans)))
        keep(change, [dice_by_series(make(*one), args.bundles) for one in zip(scans, draws, strict=True)], args)
    return 0


def keep(row: str, scores: Sequence[dict[str, float]], args: argparse.Namespace) -> None:
    """Print and keep the Dice of every bundle."""
    for name in args.bundles:
        each = [round(one[name], 3) for one in scores]
        mean = round(float(np.mean(each)), 3)
        record = {"subject": "robustness", "row": f"{row}: {name}", "dice": each, "data": args.data.name}
        bench.keep(record | {"mean": mean, "said": f"mean Dice {mean:.3f}, n {len(each)}"}, args)


if __name__ == "__main__":
    sys.exit(main())
