"""A case written as other programs write it gives the lesion of the clean case, and its result says what was read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.data import find_inputs
from monai_isles.inference.predictor import load_predictor
from monai_isles.transforms import KeptPreparation

THRESHOLD, CLERIGUES = (Path(__file__).parents[2] / "bundles" / name for name in ("threshold", "clerigues"))
MAPS = ("CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rewrite(case: Path, keys: tuple[str, ...], change: Change) -> None:
    brain = sum(nibabel.load(path).get_fdata() for key in MAPS for path in case.glob(f"*.{key}.*/*.nii")) > 0
    for key in keys:
        (path,) = case.glob(f"*.{key}.*/*.nii")
        image = nibabel.load(path)
        made = nibabel.Nifti1Image(change(np.asarray(image.dataobj).copy(), brain), image.affine, image.header)
        made.header.set_data_dtype(made.dataobj.dtype)
        nibabel.save(made, path)


def padded(value: float) -> Change:
    def change(data: np.ndarray, brain: np.ndarray) -> np.ndarray:
        x, y = np.mgrid[: data.shape[0], : data.shape[1]] - (np.array(data.shape[:2]) - 1).reshape(2, 1, 1) / 2
        data = data.astype(np.float32)
        data[np.hypot(x, y) > 127] = value
        return data

    return change


def unmeasured(value: float) -> Change:
    return lambda data, brain: np.where(brain, data, np.float32(value)).astype(np.float32)


def added(offset: float) -> Change:
    return lambda data, _: np.maximum(data.astype(np.float32) + offset, 0)


VARIATIONS = {
    "ge-padding": (("CT",), padded(-3024), "E-VAL-16"),
    "siemens-padding": (("CT",), padded(-8192), "E-VAL-16"),
    "philips-padding": (("CT",), padded(-2000), "E-VAL-16"),
    "offset": (("CT",), added(1024), "E-VAL-18"),
    "nan-background": (MAPS, unmeasured(np.nan), "E-VAL-13"),
    "infinite-background": (("CT_MTT",), unmeasured(np.inf), "E-VAL-13"),
    "negative-background": (MAPS, unmeasured(-1), "E-VAL-17"),
    "double-axis": (("CT",), lambda data, _: data[..., None], "E-DIM-09"),
}


@pytest.fixture
def case(phantom_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(phantom_folder / "TRAINING/case_1", tmp_path / "TRAINING/case_1")


def predict(case: Path, out: Path) -> tuple[np.ndarray, list[str]]:
    words = ["predict", str(case), "--bundle", str(THRESHOLD), "--out", str(out), "--no-report"]
    assert main(words) == 0
    result = json.loads((out / "case_1/result.json").read_text())
    lesion = np.asarray(nibabel.load(out / "case_1/lesion.nii.gz").dataobj) > 0
    return lesion, sorted({one.split(":")[0] for one in result.get("remarks", [])})


@pytest.fixture(scope="module")
def clean(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    lesion, remarks = predict(phantom_folder / "TRAINING/case_1", tmp_path_factory.mktemp("clean"))
    assert lesion.any() and remarks == []
    return lesion


@pytest.mark.parametrize("name", VARIATIONS)
def test_the_lesion_is_that_of_the_clean_case_and_the_repair_is_told(
    name: str, case: Path, clean: np.ndarray, tmp_path: Path
) -> None:
    keys, change, code = VARIATIONS[name]
    rewrite(case, keys, change)
    lesion, remarks = predict(case, tmp_path / "out")
    assert 2 * (lesion & clean).sum() >= 0.99 * (lesion.sum() + clean.sum())
    assert remarks == [code]


@pytest.mark.parametrize("name", ["ge-padding", "nan-background", "negative-background"])
def test_the_network_sees_what_it_sees_of_the_clean_case(
    name: str, case: Path, phantom_folder: Path, untrained_weights: Path, tmp_path: Path
) -> None:
    chosen = {"weights": [untrained_weights], "device": "cpu"}
    prepare = load_predictor(CLERIGUES, tmp_path / "out", **chosen).preprocessing
    keys, change, code = VARIATIONS[name]
    clean = prepare(find_inputs([phantom_folder / "TRAINING/case_1"])[0].entry())
    rewrite(case, keys, change)
    odd = prepare(find_inputs([case])[0].entry())
    assert np.abs(odd["image"].numpy() - clean["image"].numpy()).max() < 1e-5


def test_a_kept_preparation_remarks_again_with_the_names_of_the_new_case(
    case: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from monai_isles.io.findings import collect_remarks
    from monai_isles.io.reader import LoadVerifiedd

    rewrite(case, ("CT",), padded(-3024))
    moved = shutil.copytree(case, tmp_path / "elsewhere/case_9")
    kept = KeptPreparation(LoadVerifiedd(keys=["ct", "cbf"]), cache_dir=tmp_path / "cache")
    told = []
    for folder in (case, moved):
        with collect_remarks() as remarks:
            kept(find_inputs([folder])[0].entry())
        told.append(remarks[0])
    assert told[0].found == told[1].found and told[0].code == told[1].code == "E-VAL-16"
    assert told[1].where.startswith("case_9: ") and str(moved) in told[1].where and str(case) not in told[1].where
