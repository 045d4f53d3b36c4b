"""``check`` goes on after a fault and lists them all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data import find_cases, make_datalist
from monai_isles.data.checks import cases_left_out, check_folder, check_list
from monai_isles.errors import IslesError
from monai_isles.io import LoadVerifiedd


@pytest.fixture(autouse=True)
def no_constants(dataset: Path, tools: dict) -> None:
    """Give the maps of the data set some texture, so that it is free of findings."""
    for path in dataset.rglob("*.nii"):
        if "CT_" in path.name and "4DPWI" not in path.name:
            tools["save"](
                path,
                np.random.default_rng(0).random((24, 24, 2), dtype=np.float32),
                z_mm=25.0 if path.parts[-3] in ("case_2", "case_4") else 0.0,
            )


def codes(found: list) -> list[str]:
    return sorted(f"{f.severity} {f.code}" for f in found)


def test_a_clean_folder_has_no_finding(dataset: Path) -> None:
    assert check_folder(dataset)[0] == []


def test_one_bad_file_does_not_hide_another(dataset: Path, tools: dict) -> None:
    where = tools["path_of"]
    where(dataset, 1, "ct").write_bytes(b"")
    tools["save"](where(dataset, 2, "cbf"), np.zeros((24, 24, 2), np.float32), z_mm=25.0)
    tools["save"](where(dataset, 3, "label"), np.full((24, 24, 2), 7, np.uint8))
    tools["save"](where(dataset, 4, "tmax"), np.ones((24, 24, 2), np.float32) + np.eye(24)[..., None], z_mm=65.0)
    where(dataset, 5, "mtt").unlink()
    found = check_folder(dataset)[0]
    assert codes(found) == ["error E-FILE-02", "error E-GEOM-03", "error E-LBL-01", "error E-LIST-02", "error E-VAL-04"]
    named = {f.code: f.where for f in found}
    assert (
        "training case_1" in named["E-FILE-02"]
        and "training case_4: tmax" in named["E-GEOM-03"]
        and "training case_5: mtt" in named["E-LIST-02"]
    )


def test_odd_but_allowed_things_are_warnings(dataset: Path, tools: dict) -> None:
    where = tools["path_of"]
    tools["save"](where(dataset, 1, "label"), np.zeros((24, 24, 2), np.uint8))
    where(dataset, 5, "label").unlink()
    tools["save"](where(dataset, 6, "cbv"), np.full((24, 24, 2), 4, np.float32))
    shutil.copy(where(dataset, 5, "ct"), where(dataset, 6, "ct"))
    found = check_folder(dataset)[0]
    assert codes(found) == ["warning E-LBL-02", "warning E-LBL-03", "warning E-LIST-14", "warning E-VAL-09"]
    assert "case_5" in next(f.found for f in found if f.code == "E-LIST-14")


def test_a_header_that_cannot_be_used_is_one_finding(dataset: Path, tools: dict) -> None:
    path = tools["path_of"](dataset, 1, "cbf")
    raw = bytearray(path.read_bytes())
    raw[252:256] = bytes(4)  # qform and sform codes
    path.write_bytes(bytes(raw))
    assert codes(check_folder(dataset)[0]) == ["error E-GEOM-01"]


def test_doubles_and_a_table_that_does_not_fit_are_found(dataset: Path, tools: dict) -> None:
    shutil.copytree(tools["path_of"](dataset, 3, "cbv").parent, dataset / "TRAINING" / "case_3" / "copy")
    (dataset / "subjects.csv").write_text("case,subject\ncase_1,a\ncase_99,b\n")
    assert codes(check_folder(dataset)[0]) == ["error E-LIST-09", "error E-LIST-13", "warning E-LIST-15"]


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match="E-LIST-01"):
        check_folder(tmp_path / "none")


def test_a_list_is_checked_with_and_without_its_images(dataset: Path, tmp_path: Path, tools: dict) -> None:
    (tmp_path / "l.json").write_text(json.dumps(make_datalist(dataset, folds=2)))
    assert check_list(tmp_path / "l.json")[0] == check_list(tmp_path / "l.json", dataset)[0] == []
    tools["path_of"](dataset, 1, "ct").write_bytes(b"")
    tools["path_of"](dataset, 2, "ct").unlink()
    found = check_list(tmp_path / "l.json", dataset)[0]
    assert codes(found) == ["error E-FILE-02", "error E-LIST-02"] and "training entry 1: case_1" in found[0].where
    (tmp_path / "l.json").write_text("{")
    assert codes(check_list(tmp_path / "l.json", dataset)[0]) == ["error E-LIST-03"]


def test_a_listed_mask_that_is_absent_concerns_the_training_alone(dataset: Path, tmp_path: Path, tools: dict) -> None:
    made = make_datalist(dataset, folds=2)
    tools["path_of"](dataset, 2, "label").unlink()
    del made["training"][2]["label"]
    (tmp_path / "l.json").write_text(json.dumps(made))
    found, scans = check_list(tmp_path / "l.json", dataset)
    assert codes(found) == ["error E-LBL-03", "warning E-LBL-03"] and "training entry 2: case_2" in found[0].where
    assert cases_left_out(found, scans) == {"predict": [], "training": ["training case_2", "training case_3"]}
    tools["path_of"](dataset, 2, "ct").unlink()
    (item,) = (item for item in check_list(tmp_path / "l.json", dataset)[0] if item.code == "E-LIST-02")
    assert "case_2 (entry 2) ct" in item.found


def test_an_entry_without_an_image_is_an_error(dataset: Path, tmp_path: Path) -> None:
    made = make_datalist(dataset, folds=2)
    first = made["training"][0]
    made["training"][0] = {"case": first["case"], "subject": first["subject"], "fold": first["fold"], "image": "x.nii"}
    (tmp_path / "l.json").write_text(json.dumps(made))
    (found,) = check_list(tmp_path / "l.json", dataset)[0]
    assert found.code == "E-LIST-02" and found.found == "no image; image of no modality that is known"


def test_mri_folders_are_checked_by_their_own_modalities(siss: Path, tools: dict) -> None:
    assert check_folder(siss)[0] == []
    shutil.rmtree(next((siss / "TRAINING" / "1").glob("*MR_T2*")))
    path = next((siss / "TRAINING" / "2").glob("*MR_T1*/*.nii"))
    tools["save"](path, np.random.default_rng(0).random((6, 5, 4), dtype=np.float32), z_mm=30.0)
    shutil.copy(
        next((siss / "TRAINING" / "3").glob("*DWI*/*.nii")), next((siss / "TRAINING" / "4").glob("*DWI*/*.nii"))
    )
    shutil.copytree(siss / "TRAINING" / "5", siss / "TRAINING" / "case_5")
    found = check_folder(siss)[0]
    assert codes(found) == ["error E-GEOM-03", "error E-LIST-02", "error E-LIST-11", "warning E-LIST-14"]
    where = next(f.where for f in found if f.code == "E-GEOM-03")
    assert where.startswith("training case_2: t1 (") and "against dwi (" in where


def test_what_some_cases_of_a_plain_folder_lack_is_a_warning(tmp_path: Path, tools: dict) -> None:
    for n, name in enumerate(("a_dwi", "a_adc", "b_dwi")):
        volume = np.random.default_rng(n).random((6, 5, 4), dtype=np.float32) + 1
        tools["save"](tmp_path / "d" / f"{name}.nii", volume)
    found = check_folder(tmp_path / "d")[0]
    assert codes(found) == ["warning E-LBL-03", "warning E-LIST-02"]  # one for all, not one a case
    assert next(f.where for f in found if f.code == "E-LIST-02") == "training b: adc"


def test_images_that_a_bundle_does_not_read_and_masks_do_not_hinder_its_prediction(tmp_path: Path, tools: dict) -> None:
    names = ("a/dwi", "a/adc", "a/flair", "a/mask", "b/dwi", "b/mask", "b/lesion")
    for n, name in enumerate(names):
        volume = np.random.default_rng(n).random((6, 5, 5 if "flair" in name else 4), dtype=np.float32) + 1
        mask = name.endswith(("mask", "lesion"))
        tools["save"](tmp_path / "d" / f"{name}.nii", np.uint8(volume > 1.5) if mask else volume)

    def left_out(*asked: list[str]) -> dict[str, list[str]]:
        return cases_left_out(*check_folder(tmp_path / "d", *asked))

    assert left_out() == {"predict": [], "training": ["training b"]}  # FLAIR on another grid is remarked
    assert left_out(["dwi"], ["adc"]) == left_out([], ["dwi", "adc"]) == {"predict": [], "training": ["training b"]}
    assert left_out(["dwi", "flair"])["predict"] == ["training a", "training b"]


def test_what_check_passes_is_read_and_what_it_refuses_is_not(dataset: Path, tools: dict) -> None:
    where, save = tools["path_of"], tools["save"]
    brain = np.asarray(nibabel.load(where(dataset, 1, "cbf")).dataobj)
    hole = np.where(brain > 0, 5, 0).astype(np.float32)
    hole[12, 12, 0] = np.nan
    ct = np.asarray(nibabel.load(where(dataset, 6, "ct")).dataobj).copy()
    ct[0, 0], ct[23, 23] = -3024, -3024
    geometry = nibabel.load(where(dataset, 6, "ct")).affine
    where(dataset, 1, "tmax").write_bytes(where(dataset, 1, "tmax").read_bytes()[:-9])  # cut
    where(dataset, 2, "cbv").unlink()  # missing
    save(where(dataset, 3, "mtt"), hole, z_mm=nibabel.load(where(dataset, 3, "ct")).affine[2, 3])  # no number in tissue
    save(where(dataset, 4, "label"), np.full((24, 24, 2), 0.5, np.float32))  # no mask
    picture = np.clip(np.asarray(nibabel.load(where(dataset, 5, "ct")).dataobj) / 80, 0, 1).astype(np.float32)
    save(where(dataset, 5, "ct"), picture, z_mm=nibabel.load(where(dataset, 5, "ct")).affine[2, 3])  # not in HU
    nibabel.save(nibabel.Nifti1Image(ct, geometry), where(dataset, 6, "ct"))  # padded: repaired
    found, scans = check_folder(dataset)
    bad = {one.case for one in found if one.severity == "error"}
    assert bad == {f"training case_{n}" for n in range(1, 6)} and len(scans) == 7
    assert "warning E-VAL-16" in codes(found)
    left_out: list = []
    cases, refused = find_cases(dataset, section="training", left_out=left_out), []
    for case in cases:
        try:
            LoadVerifiedd(keys=["ct", "cbf", "cbv", "mtt", "tmax", "label"])(case.entry())
        except IslesError:
            refused.append(case.name)
    assert refused == ["case_1", "case_3", "case_4", "case_5"] and [one.case for one in left_out] == ["case_2"]


@pytest.mark.parametrize("names", ["{}_{}", "sub-{0}/ses-0001/{0}_space-DWI_{1}"], ids=["plain", "bids"])
def test_flair_on_a_grid_of_its_own_is_remarked_beside_diffusion(tmp_path: Path, tools: dict, names: str) -> None:
    def save(key: str, depth: int, z_mm: float) -> None:
        path = tmp_path / "d" / f"{names.format('stroke0001', key)}.nii.gz"
        volume = np.random.default_rng(len(key)).random((6, 5, depth), dtype=np.float32) + 1
        tools["save"](path, (volume > 1.5).astype(np.uint8) if key == "mask" else volume, z_mm=z_mm)

    for key, depth in (("dwi", 4), ("adc", 4), ("mask", 4), ("flair", 7)):
        save(key, depth, 0.0)
    assert codes(check_folder(tmp_path / "d")[0]) == ["warning E-GEOM-04"]
    assert codes(check_folder(tmp_path / "d", ["dwi", "flair"])[0]) == ["error E-GEOM-04"]
    save("mask", 7, 0.0)  # drawn on FLAIR
    assert codes(check_folder(tmp_path / "d")[0]) == ["warning E-GEOM-04"]
    save("mask", 4, 30.0)
    save("adc", 4, 60.0)
    assert codes(check_folder(tmp_path / "d")[0]) == ["error E-GEOM-03", "error E-GEOM-03", "warning E-GEOM-04"]


def test_a_series_without_a_clock_is_an_error_where_no_maps_stand_in_for_it(tmp_path: Path) -> None:
    folder, rng = tmp_path / "plain", np.random.default_rng(0)
    folder.mkdir()
    series, maps = ("p1_ctp", "p2_ctp"), ("p2_cbf", "p2_cbv", "p2_mtt", "p2_tmax")
    for name in (*series, *maps):
        frames = (30,) if name in series else ()
        image = nibabel.Nifti1Image(40 * rng.random((24, 24, 2, *frames), dtype=np.float32), np.diag([6.0, 6, 5, 1]))
        nibabel.save(image, folder / f"{name}.nii.gz")
    found, scans = check_folder(folder)
    clock = [(one.case, one.severity) for one in found if one.code == "E-TIME-01"]
    assert clock == [("training p1", "error"), ("training p2", "warning")]
    assert cases_left_out(found, scans)["predict"] == ["training p1"]
    for name in ("p1", "p2"):
        (folder / f"{name}_ctp.json").write_text('{"RepetitionTime": 1.5}')
    assert not [one for one in check_folder(folder)[0] if one.code == "E-TIME-01"]
