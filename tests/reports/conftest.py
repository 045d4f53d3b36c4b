"""Simulated cases for the pages: an elliptic head with a deep low-flow area, in memory and on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from monai_isles.evaluation import score_case, summarise
from monai_isles.reports.views import CaseView


def ellipse(shape: tuple[int, int, int], centre: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
    i, j, _ = np.indices(shape)
    return ((i - centre[0]) / radius[0]) ** 2 + ((j - centre[1]) / radius[1]) ** 2 <= 1


def make_case(
    name: str = "case_1", *, depth: int = 4, size: int = 64, seed: int = 0, truth: bool = True, lesion: bool = True
) -> CaseView:
    random, shape, s = np.random.default_rng(seed), (size, size, depth), size / 64
    head, brain = ellipse(shape, (32 * s, 32 * s), (26 * s, 30 * s)), ellipse(shape, (32 * s, 32 * s), (23 * s, 27 * s))
    core = ellipse(shape, (20 * s, 32 * s), (7 * s, 9 * s)) & brain if lesion else np.zeros(shape, bool)
    core[:, :, 0] = False
    penumbra = ellipse(shape, (19 * s, 32 * s), (12 * s, 15 * s)) & brain & (core.any() > 0)
    noise = [gaussian_filter(random.normal(size=shape), (1, 1, 0)) for _ in range(4)]
    ct = np.where(brain, 35 - 4 * core + 6 * noise[0], np.where(head, 900.0, -1000.0))
    cbf = np.where(brain, np.clip(45 - 20 * penumbra - 15 * core + 14 * noise[1], 0.1, None), 0)
    tmax = np.where(brain, np.clip(1.5 + 6 * penumbra + 2 * core + 2 * noise[2], 0.1, None), 0)
    probability = (
        np.clip(
            gaussian_filter(np.roll(core, (round(2 * s), round(s)), (0, 1)).astype(float), (2, 2, 0)) + 0.02 * noise[3],
            0,
            1,
        )
        * brain
    )
    found = probability > 0.4
    scores = {
        "case": name,
        "subject": f"s{seed}",
        "dsc": 2 * (found & core).sum() / max(1, found.sum() + core.sum()) if lesion else 1.0,
        "ppv": 0.7,
        "sensitivity": 0.8,
        "hd_mm": 9.5,
        "hd95_mm": 6.1,
        "assd_mm": 1.4,
        "lesion_ml_ref": core.sum() * 0.02,
        "lesion_ml_pred": found.sum() * 0.02,
    }
    result = {
        "case": name,
        "subject": f"s{seed}",
        "lesion_ml": found.sum() * 0.02,
        "threshold": 0.4,
        "min_size_vox": 10,
        "bundle": "clerigues",
        "weights_sha256": ["ab" * 32],
        "modalities": {key: f"/secret/ZZPATIENT/{key}.nii" for key in ("ct", "cbf", "tmax")},
        "seconds": 12.5,
    }
    return CaseView(
        name,
        {k: v.astype(np.float32) for k, v in (("ct", ct), ("cbf", cbf), ("tmax", tmax))},
        (2.0, 2.0, 5.0),
        probability.astype(np.float32),
        (probability * (1 - probability)).astype(np.float32),
        found,
        core if truth else None,
        scores if truth else None,
        result,
        simulated=True,
    )


@pytest.fixture
def case() -> Callable[..., CaseView]:
    return make_case


def write_folders(root: Path, *, missing: tuple[str, ...] = (), rule: bool = False) -> dict[str, Path]:
    """Write two cases as predict, evaluate and the ISLES 2018 layout lay them out."""
    folders = {name: root / name for name in ("ref", "pred", "scores")}
    cases, like = [make_case(f"case_{n}", depth=2, size=32, seed=n) for n in (1, 2)], np.diag([2.0, 2.0, 5.0, 1.0])
    rows = [_write_case(case, folders, like, missing=case.name in missing) for case in cases]
    (folders["ref"] / "SIMULATED.txt").write_text("simulated\n")
    folders["scores"].mkdir()
    methods = {"network": "per_case.csv", **({"rcbf30": "baseline_per_case.csv"} if rule else {})}
    for name in methods.values():
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (folders["scores"] / name).write_text("\n".join(lines) + "\n")
    summary = {
        "data": "phantom",
        "simulated": True,
        "section": "training",
        "folds": [0],
        "baselines": {"rcbf30": "CBF below 30%"} if rule else {},
        "methods": {name: summarise(rows, resamples=20) for name in methods},
    }
    (folders["scores"] / "summary.json").write_text(json.dumps(summary))
    return folders


def _write_case(case: CaseView, folders: dict[str, Path], affine: np.ndarray, *, missing: bool) -> dict[str, object]:
    images = {
        "CT": case.images["ct"],
        "CT_CBF": case.images["cbf"],
        "CT_CBV": case.images["cbf"],
        "CT_MTT": case.images["tmax"],
        "CT_Tmax": case.images["tmax"],
        "OT": case.truth.astype(np.uint8),
    }
    paths = {}
    for index, (key, array) in enumerate(images.items()):
        name = f"SMIR.Brain.XX.O.{key}.{case.name[-1]}{index}"
        paths[key] = folders["ref"] / "TRAINING" / case.name / name / f"{name}.nii"
        paths[key].parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), paths[key])
    lesion = np.zeros_like(case.lesion) if missing else case.lesion
    if not missing:
        out = folders["pred"] / case.name
        out.mkdir(parents=True)
        for name, array in (
            ("lesion", lesion.astype(np.uint8)),
            ("probability", case.probability),
            ("uncertainty", case.uncertainty),
        ):
            nibabel.save(nibabel.Nifti1Image(array, affine), out / f"{name}.nii.gz")
        read = {"ct": paths["CT"], "cbf": paths["CT_CBF"], "tmax": paths["CT_Tmax"]}
        (out / "result.json").write_text(
            json.dumps({**case.result, "lesion_ml": 1.0, "modalities": {k: str(p) for k, p in read.items()}})
        )
    return {
        "case": case.name,
        "subject": f"s{case.name[-1]}",
        **score_case(lesion, case.truth, case.spacing_mm),
        "missing": int(missing),
    }


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    return lambda **more: write_folders(tmp_path / "data", **more)
