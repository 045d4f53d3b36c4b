from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from monai_isles.cli import phantom as verb
from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.phantom import dataset_or_phantom, make_case, make_dataset
from monai_isles.phantom import folder as filling
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dataset import plan

SEED = 7


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "SIMULATED.txt"]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def images_of(case: Path) -> dict[str, Path]:
    return {p.parent.name.split(".")[4]: p for p in case.glob("*/*.nii")}


def test_layout_is_that_of_the_release(folder: Path) -> None:
    assert sorted(p.name for p in (folder / "TRAINING").iterdir()) == ["case_1", "case_2", "case_3"]
    keys = {"CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "CT_4DPWI", "MR_DWI", "OT"}
    assert set(images_of(folder / "TRAINING" / "case_1")) == keys
    assert set(images_of(folder / "TESTING" / "case_1")) == keys - {"OT", "MR_DWI"}
    for path in folder.glob("T*/case_*/*/*.nii"):
        assert path.stem == path.parent.name and path.name.startswith("SMIR.Brain.XX.O.")
    ids = [p.stem.split(".")[-1] for p in folder.glob("T*/case_*/*/*.nii")]
    assert len(ids) == len(set(ids))


def test_headers_say_where_voxels_lie_and_when_frames_were_taken(folder: Path) -> None:
    paths = images_of(folder / "TRAINING" / "case_2")
    truth = json.loads((folder / "truth" / "case_2.json").read_text())
    affines = [nibabel.load(p).affine for p in paths.values()]
    assert all(np.array_equal(affines[0], a) for a in affines)
    assert nibabel.aff2axcodes(affines[0]) == ("L", "P", "S")
    series = nibabel.load(paths["CT_4DPWI"])
    assert series.shape == (256, 256, 2, truth["frames"]) and series.header.get_xyzt_units() == ("mm", "sec")
    assert series.header["pixdim"][4] == pytest.approx(truth["dt_s"]) and series.get_data_dtype() == np.int16
    assert series.header["qform_code"] == series.header["sform_code"] == 1
    label = nibabel.load(paths["OT"])
    assert label.get_data_dtype() == np.uint8 and set(np.unique(label.dataobj)) == {0, 1}
    assert np.allclose(label.header.get_zooms(), truth["spacing_mm"])


def test_files_hold_the_arrays_of_the_case(folder: Path, case: CaseArrays) -> None:
    paths = images_of(folder / "TRAINING" / "case_2")
    for key, name in {"ct": "CT", "cbf": "CT_CBF", "tmax": "CT_Tmax", "dwi": "MR_DWI"}.items():
        ras = nibabel.as_closest_canonical(nibabel.load(paths[name]))
        assert np.array_equal(np.asanyarray(ras.dataobj), case.images[key])


def test_truth_tells_pose_stroke_and_landmarks(folder: Path) -> None:
    truth = json.loads((folder / "truth" / "case_2.json").read_text())
    voxel_ml = np.prod(truth["spacing_mm"]) / 1000
    label = np.asanyarray(nibabel.load(images_of(folder / "TRAINING" / "case_2")["OT"]).dataobj)
    assert truth["lesion_ml"] == pytest.approx(label.sum() * voxel_ml)
    assert (
        abs(truth["tilt_deg"]) <= 15 and max(map(abs, truth["shift_px"])) <= 20 and truth["side"] in {"left", "right"}
    )
    assert np.array(truth["landmarks_vox"]).shape[1:] == (2, 3)
    assert {"occlusion", "core_ml", "penumbra_ml", "residue", "core_delay_s", "distractors", "subject"} <= set(truth)


def test_subjects_are_tabled_and_never_shared_between_sections(folder: Path) -> None:
    with (folder / "subjects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["case"], r["section"]) for r in rows] == [
        ("case_1", "TRAINING"),
        ("case_2", "TRAINING"),
        ("case_3", "TRAINING"),
        ("case_1", "TESTING"),
    ]
    training = {r["subject"] for r in rows if r["section"] == "TRAINING"}
    assert training.isdisjoint(r["subject"] for r in rows if r["section"] == "TESTING")
    planned = plan(60, seed=SEED)
    assert 5 < len(planned) - len({p.index for p in planned}) < 30  # some subjects have two slabs


def test_the_folder_says_that_it_is_simulated(folder: Path) -> None:
    text = (folder / "SIMULATED.txt").read_text()
    assert "SIMULATED" in text and "seed 7" in text and "cases 3" in text


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_shorter_data_set_without_series_holds_the_same_bits_in_any_number_of_processes(
    folder: Path, tmp_path: Path, warm_workers: None, workers: int
) -> None:
    short = make_dataset(tmp_path / "short", cases=2, seed=SEED, series=False, workers=workers, max_slices=2)
    whole = digests(folder)
    for name, digest in digests(short).items():
        if name != "subjects.csv":
            assert whole[name] == digest, name
    assert not list(short.rglob("*4DPWI*"))


def test_an_existing_phantom_of_the_same_settings_is_used_as_it_is(folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert make_dataset(folder, cases=3, seed=SEED, test_cases=1, max_slices=2) == folder
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_other_settings_never_overwrite_a_phantom(folder: Path) -> None:
    with pytest.raises(
        IslesError, match=r"E-PHAN-03: the folder exists already(?s:.*)a phantom with other settings: .*seed 7, cases 3"
    ):
        make_dataset(folder, cases=4, seed=SEED, test_cases=1, max_slices=2)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(IslesError, match=r"E-PHAN-03(?s:.*)something that is not a phantom"):
        make_dataset(tmp_path, cases=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "numbers", [{"cases": 0}, {"workers": 0}, {"test_cases": -1}, {"seed": -1}, {"max_slices": 1}], ids=str
)
def test_numbers_that_make_no_data_set_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(
        IslesError,
        match=r"E-PHAN-02: the number of cases, workers or slices is not valid(?s:.*)give at least 1 case",
    ):
        make_dataset(tmp_path / "new", **({"cases": 1, "seed": 0} | numbers))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("numbers", [{"number": 0}, {"seed": -1}, {"max_slices": 1}], ids=str)
def test_numbers_that_make_no_case_are_refused(numbers: dict[str, int]) -> None:
    """A phantom of at most one slice was looked for without end."""
    with pytest.raises(IslesError, match="E-PHAN-02"):
        make_case(**({"number": 1, "seed": 0} | numbers))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit], ids=["interrupt", "sigterm"])
def test_a_stop_half_way_leaves_the_finished_scans_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    made: list[int] = []
    monkeypatch.setattr(filling, "_write_images", lambda scan, names, into, **_: into.mkdir(parents=True))
    monkeypatch.setattr(filling, "make_patient", lambda index, **_: index)

    def scan(*_: object, **__: object) -> SimpleNamespace:
        made.append(1)
        if len(made) == 2:
            raise stop
        return SimpleNamespace(truth={})

    monkeypatch.setattr(filling, "scan_slab", scan)
    wanted = {"cases": 3, "seed": SEED, "series": False, "max_slices": 2}
    with pytest.raises(stop):
        make_dataset(tmp_path / "new", **wanted)
    assert not (tmp_path / "new").exists()
    make_dataset(tmp_path / "new", **wanted)
    assert len(made) == 4 and [p.name for p in tmp_path.iterdir()] == ["new"]


def test_the_leavings_of_a_killed_run_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = tmp_path / ".part-999999999-new"
    dead.mkdir()
    monkeypatch.setattr("monai_isles.phantom.dataset.fill", lambda *_, **__: None)
    make_dataset(tmp_path / "new", cases=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize(("name", "other"), [("new", "my-new"), ("n[e]w", "new")])
def test_the_leavings_of_another_data_set_stay(
    name: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, others = (tmp_path / f".part-999999999-{which}" for which in (name, other))
    own.mkdir(), others.mkdir()
    monkeypatch.setattr("monai_isles.phantom.dataset.fill", lambda *_, **__: None)
    make_dataset(tmp_path / name, cases=1, seed=0)
    assert {p.name for p in tmp_path.iterdir()} == {name, others.name}


def test_what_a_killed_run_made_is_kept_and_the_rest_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"cases": 3, "seed": SEED, "test_cases": 1, "max_slices": 2}
    aside = Path(shutil.copytree(folder, tmp_path / ".part-999999999-new"))
    (aside / "SIMULATED.txt").rename(aside / ".recipe.txt")
    (aside / "truth/case_2.json").unlink()
    (aside / "TRAINING/.part-0-case_2").mkdir()
    made: list[int] = []
    make = filling.scan_slab
    monkeypatch.setattr(filling, "scan_slab", lambda *a, **k: made.append(1) or make(*a, **k))
    assert digests(make_dataset(tmp_path / "new", **wanted)) == digests(folder)
    assert made == [1] and [p.name for p in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("fault", ["E-COH-04", "E-PHAN-30"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_run_that_fails_leaves_its_finished_scans_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, finished: bool
) -> None:
    def lost(aside: Path, *_: object, **__: object) -> None:
        if finished:
            (aside / "truth").mkdir()
            (aside / "truth/case_1.json").touch()
        raise IslesError(fault, "no more", where="cluster", found="nothing", fix="repeat")

    monkeypatch.setattr("monai_isles.phantom.dataset.fill", lost)
    with pytest.raises(IslesError, match=fault):
        make_dataset(tmp_path / "new", cases=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ([f".part-{os.getpid()}-new"] if finished else [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("no memory"), "E-PHAN-30: a subject cannot be made"),
        (IslesError("E-VAL-3", "f", where="w", found="f", fix="f"), "E-VAL-3: f"),
    ],
)
def test_a_subject_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filling, "make_patient", fail)
    with pytest.raises(IslesError, match=code):
        make_dataset(tmp_path / "new", cases=1, seed=0)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        IslesError, match=r"E-PHAN-05: the folder cannot be made(?s:.*)file/new(?s:.*)choose a writable folder"
    ):
        make_dataset(tmp_path / "file" / "new", cases=1, seed=0)


@pytest.mark.parametrize("out", [".", "link"])
def test_a_folder_that_cannot_be_replaced_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    if out == "link":
        (tmp_path / "here/link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(IslesError, match=r"E-PHAN-05(?s:.*)cannot be replaced(?s:.*)name a new folder in it"):
        make_dataset(out, cases=1, seed=0)


def test_two_slabs_of_a_subject_share_side_occlusion_and_residue() -> None:
    planned = plan(30, seed=SEED, max_slices=2)
    index = next(p.number for p in planned if p.slab == 1)
    low, high = (make_case(n, seed=SEED, max_slices=2).truth for n in (index - 1, index))
    assert all(low[k] == high[k] for k in ("side", "occlusion", "residue", "tilt_deg", "spacing_mm", "distractors"))
    assert low["level_mm"] < high["level_mm"] and min(low["lesion_ml"], high["lesion_ml"]) >= 0.7


def test_a_named_folder_wins_then_the_environment_then_the_phantom(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ISLES2018_DIR", raising=False)
    assert dataset_or_phantom(str(tmp_path), folder="unused", cases=1, seed=0) == tmp_path
    monkeypatch.setattr("monai_isles.phantom.dataset.make_dataset", lambda out, **_: Path(out))
    with caplog.at_level(logging.INFO):
        assert dataset_or_phantom("", folder="made", cases=2, seed=3) == Path("made")
    assert "simulated one in made" in caplog.text
    monkeypatch.setenv("ISLES2018_DIR", str(folder))
    assert dataset_or_phantom(None, folder="unused", cases=1, seed=0) == folder


def test_a_named_folder_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        IslesError, match=r"E-PHAN-04: the data folder does not exist\n  where dataset_dir\n  found /no/such"
    ):
        dataset_or_phantom("/no/such", folder="unused", cases=1, seed=0)
    monkeypatch.setenv("ISLES2018_DIR", "/nor/this")
    with pytest.raises(IslesError, match=r"E-PHAN-04(?s:.*)ISLES2018_DIR(?s:.*)/nor/this"):
        dataset_or_phantom(None, folder="unused", cases=1, seed=0)


def test_the_command_makes_the_folder_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["phantom", "--out", str(tmp_path / "p"), "--cases", "1", "--seed", "7", "--no-series", "--max-slices", "2"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["simulated"] is True and said["cases"] == 1
    assert main(words) == 0
    assert "1 simulated scans" in capsys.readouterr().out
    assert main([*words[:-1], "4"]) == 4
    assert "E-PHAN-03" in capsys.readouterr().err
    assert verb.__doc__
