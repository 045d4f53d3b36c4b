"""How alike the pseudo-DWI of the test scans are to the true ones, and the slices to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from monai_isles.case import Case
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.crossval.plan import DATA_LIST
from monai_isles.data.entries import load_entries
from monai_isles.io.grid import require_same_grid
from monai_isles.io.read import read_image
from monai_isles.metrics.image import image_quality
from monai_isles.progress import progress
from monai_isles.transforms.intensity import scaled_dwi

QUALITY = {"ssim": "ssim", "local_ssim": "local_ssim", "psnr_db": "psnr", "local_psnr_db": "local_psnr"}
Volumes = tuple[Case, np.ndarray, np.ndarray, np.ndarray]


def pseudo_dwi_scores(found: OutOfFold) -> dict[str, dict[str, float]]:
    """Return SSIM and PSNR by case, over the whole image and around the lesion.

    The true DWI is scaled as in training, by its minimum and 99th percentile.

    Units: PSNR in dB.
    Raises:
        IslesError: ``E-LIST-02`` a case without DWI, ``E-GEOM-*`` other grids, and what ``read_image`` raises.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1; ``tests/papers/test_pseudo_dwi_scores.py``.
    """
    scores = {}
    for case, pseudo, true, lesion in _volumes(found, found.cases):
        quality = image_quality(pseudo, true, lesion)
        scores[case.name] = {ours: quality[theirs] for ours, theirs in QUALITY.items()}
    return scores


def pseudo_dwi_slices(found: OutOfFold, lines: Sequence[dict[str, object]], count: int) -> list[dict[str, object]]:
    """Return what ``pseudo_dwi_montage`` draws: up to ``count`` cases with a lesion at even ranks of their SSIM.

    Best first; of each case the slice with most lesion; the numbers are those of the whole case.

    Args:
        lines: one a case, with the keys of ``QUALITY``.
    Source: the paper names no rule for the cases of its Figure 7: ours; ``tests/papers/test_pseudo_dwi_scores.py``.
    """
    ranked = sorted((line for line in lines if float(line["lesion_ml_ref"]) > 0), key=lambda line: -float(line["ssim"]))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    by_name = {case.name: case for case in found.cases}
    chosen = [ranked[place] for place in places]
    drawn = []
    volumes = _volumes(found, [by_name[str(line["case"])] for line in chosen])
    for line, (case, pseudo, true, lesion) in zip(chosen, volumes, strict=True):
        level = int(np.argmax(lesion.sum((0, 1))))
        planes = {"true": true[..., level], "pseudo": pseudo[..., level], "lesion": lesion[..., level]}
        title = f"{case.name}, {float(line['lesion_ml_ref']):.1f} ml"
        drawn.append({"title": title, **planes, **{key: line[key] for key in QUALITY}})
    return drawn


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return mean, sd (n - 1) and n over the finite values; None where there are too few."""
    kept = np.array([value for value in values if math.isfinite(value)])
    return {
        "mean": float(kept.mean()) if kept.size else None,
        "sd": float(kept.std(ddof=1)) if kept.size > 1 else None,
        "n": int(kept.size),
    }


def _volumes(found: OutOfFold, cases: Sequence[Case]) -> Iterator[Volumes]:
    """Yield case, pseudo-DWI, scaled true DWI and lesion, all ``(H, W, D)`` on one grid."""
    listed = found.folder / DATA_LIST, found.plan.dataset_dir
    entries = load_entries(*listed, folds=sorted(found.plan.cases), keys=("dwi",), need_label=True)
    true = {str(entry["case"]): str(entry["dwi"]) for entry in entries}
    for case in progress(cases, "comparing pseudo-DWI", total=len(cases)):
        dwi = read_image(true[case.name], kind="dwi", where=case.name)
        lesion = read_image(case.label, kind="label", where=case.name, label_values=case.label_values)
        pseudo = read_image(found.path(case).with_name("pseudo_dwi.nii.gz"), where=case.name)
        require_same_grid({"true DWI": dwi, "pseudo-DWI": pseudo, "reference": lesion}, case=case.name)
        scaled = scaled_dwi(torch.from_numpy(np.ascontiguousarray(dwi.data)), where=case.name).numpy()
        yield case, pseudo.data, scaled, lesion.data > 0
