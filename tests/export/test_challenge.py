"""The submission archive: names by id, geometry of the input, nothing packed unless every case is there."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.export.challenge import challenge_names, export_challenge
from monai_isles.io import publish_json


def save(path: Path, data: np.ndarray) -> None:
    affine = np.diag([-2.0, 2.0, 5.0, 1.0])
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Two test cases with ids 501 and 502, and their predicted masks."""
    entries = []
    for number in (1, 2):
        relative = f"TESTING/case_{number}/SMIR.Brain.XX.O.CT.50{number}/SMIR.Brain.XX.O.CT.50{number}.nii"
        save(tmp_path / "data" / relative, np.full((8, 6, 2), 30.0, np.float32))
        mask = np.zeros((8, 6, 2), np.uint8)
        mask[1 : 1 + number, 2, 0] = 1
        save(tmp_path / "pred" / f"case_{number}" / "lesion.nii.gz", mask)
        entries.append({"case": f"case_{number}", "subject": f"s{number}", "ct": relative})
    publish_json(tmp_path / "list.json", {"name": "t", "training": [], "test": entries})
    return {"pred": tmp_path / "pred", "list": tmp_path / "list.json", "data": tmp_path / "data"}


def pack(places: dict[str, Path], archive: Path, description: str = "girona"):
    return export_challenge(places["pred"], places["list"], places["data"], archive, description=description)


def test_the_archive_is_flat_and_named_by_the_id_of_the_image(places: dict[str, Path], tmp_path: Path) -> None:
    made = pack(places, tmp_path / "out" / "submission.zip")
    with zipfile.ZipFile(made.archive) as archive:
        assert archive.namelist() == ["SMIR.girona.501.nii", "SMIR.girona.502.nii"]
        archive.extractall(tmp_path / "unpacked")
    image = nibabel.load(tmp_path / "unpacked/SMIR.girona.502.nii")
    assert image.get_data_dtype() == np.uint8 and image.get_fdata().sum() == 2
    np.testing.assert_allclose(image.affine, np.diag([-2.0, 2.0, 5.0, 1.0]))
    assert made.names["case_1"] == "SMIR.girona.501.nii" and len(made.sha256) == 64
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["submission.zip"]


def test_a_case_without_a_prediction_packs_nothing(places: dict[str, Path], tmp_path: Path) -> None:
    (places["pred"] / "case_2/lesion.nii.gz").unlink()
    with pytest.raises(IslesError, match="E-CHAL-04: test cases have no prediction(?s:.*)1 of 2: case_2"):
        pack(places, tmp_path / "out" / "submission.zip")
    assert not (tmp_path / "out").exists()


def test_names_that_cannot_be_made_are_refused(places: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(IslesError, match="E-CHAL-03: description does not fit a file name(?s:.*)'a.b'"):
        pack(places, tmp_path / "s.zip", "a.b")
    first = {
        "case": "case_1",
        "subject": "s1",
        "ct": "TESTING/case_1/SMIR.Brain.XX.O.CT.501/SMIR.Brain.XX.O.CT.501.nii",
    }
    publish_json(places["list"], {"training": [], "test": [first, {**first, "case": "case_2"}]})
    with pytest.raises(IslesError, match="E-CHAL-02: two cases have the same challenge id(?s:.*)case_1 and case_2"):
        pack(places, tmp_path / "s.zip")
    save(places["data"] / "plain.nii", np.zeros((8, 6, 2), np.float32))
    publish_json(places["list"], {"training": [], "test": [{"case": "case_1", "subject": "s", "ct": "plain.nii"}]})
    with pytest.raises(IslesError, match="E-CHAL-01: file name holds no challenge id(?s:.*)plain.nii"):
        pack(places, tmp_path / "s.zip")


@pytest.mark.parametrize(
    ("listed", "id_of", "name"),
    [
        ({"dwi": "VSD.Brain.XX.O.MR_DWI.70611", "flair": "VSD.Brain.XX.O.MR_Flair.70612"}, None, "VSD.try.70612.nii"),
        ({"dwi": "VSD.Brain.XX.O.MR_DWI.70611", "flair": "VSD.Brain.XX.O.MR_Flair.70612"}, "dwi", "VSD.try.70611.nii"),
        ({"ttp": "VSD.Brain.XX.O.MR_TTP.7", "t1c": "VSD.Brain.XX.O.MR_T1c.8"}, None, "VSD.try.8.nii"),
        ({"cbf": "SMIR.Brain.XX.O.MR_rCBF.5", "adc": "SMIR.Brain.XX.O.MR_ADC.6"}, None, "SMIR.try.6.nii"),
        ({"adc": "SMIR.Brain.XX.O.MR_ADC.6", "mtt": "SMIR.Brain.XX.O.MR_MTT.7"}, None, "SMIR.try.7.nii"),
        ({"t2": "VSD.Brain.XX.O.MR_T2.9"}, None, "VSD.try.9.nii"),
    ],
)
def test_prefix_and_id_are_those_of_the_data_set(
    listed: dict[str, str], id_of: str | None, name: str, places: dict[str, Path], tmp_path: Path
) -> None:
    entry = {"case": "case_1", "subject": "s"} | {key: f"{stem}.nii" for key, stem in listed.items()}
    for stem in listed.values():
        save(places["data"] / f"{stem}.nii", np.zeros((8, 6, 2), np.float32))
    publish_json(places["list"], {"training": [], "test": [entry]})
    assert challenge_names(places["list"], places["data"], description="try", id_of=id_of)[1] == {"case_1": name}
    words = ["export", "--challenge", "try", "--out", str(tmp_path / "out"), "--data-list", str(places["list"])]
    words += ["--dataset-dir", str(places["data"]), "--pred", str(places["pred"])]
    assert main([*words, *(["--id-of", id_of] if id_of else [])]) == 0
    with zipfile.ZipFile(tmp_path / "out/submission.zip") as archive:
        assert archive.namelist() == [name]


def test_the_verb_packs_it_and_asks_for_what_it_needs(places: dict[str, Path], tmp_path: Path, capsys) -> None:
    words = ["export", "--challenge", "girona", "--out", str(tmp_path / "out"), "--data-list", str(places["list"])]
    assert main([*words, "--dataset-dir", str(places["data"])]) == 2
    assert "E-USE-20: it is not clear what to export" in (said := capsys.readouterr().err) and "missing: --pred" in said
    assert main([*words, "--dataset-dir", str(places["data"]), "--pred", str(places["pred"])]) == 0
    said = capsys.readouterr().out
    assert "case_1: SMIR.girona.501.nii" in said and "not verified" in said
    assert main(["export", "--out", str(tmp_path)]) == 2
    assert "found nothing" in capsys.readouterr().err
