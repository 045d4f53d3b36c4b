"""Group I of the reliability list: files that want to do harm, and a name that must not get out."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch

from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state
from monai_isles.networks import AsymmetricResUNet
from tests.reliability import gates
from tests.reliability.conftest import BUNDLE
from tests.reliability.scanner import write_scan

Gate, Run = Callable[..., object], Callable[..., object]
PLANTED = ("ZZPATIENT", "ZZNUMBER", "ZZBORN")


class Payload:
    """What a pickle would run when it is loaded: it leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that must never appear."""
    return tmp_path / "pwned"


def test_i1_a_pickle_inside_a_checkpoint_is_refused_and_not_run(
    case: Path, predict: Run, refused: Gate, canary: Path, tmp_path: Path
) -> None:
    torch.save({"weights": Payload(canary)}, tmp_path / "model.pt")
    says = [str(tmp_path / "model.pt"), "system", "do not open this file"]
    shown = refused(predict, case, weights=tmp_path / "model.pt", exit_code=5, code="E-SAFE-01", says=says)
    assert "weights_only=False" not in shown.text and not canary.exists()


def test_i1_a_checkpoint_to_resume_from_is_no_way_in_either(
    resumed: Run, refused: Gate, canary: Path, tmp_path: Path
) -> None:
    for path in (tmp_path / "run").glob("checkpoint-*.pt"):
        torch.save({"epoch": Payload(canary)}, path)
    says = ["checkpoint-0002.pt: checkpoint holds more than weights"]
    refused(resumed, exit_code=4, code="E-TRAIN-04", says=says)
    assert not canary.exists()


def test_i2_a_bare_pickle_is_no_checkpoint(
    case: Path, predict: Run, refused: Gate, canary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Payload(canary)))
    says = [str(path), "old pickles are not read", "give a checkpoint"]
    refused(predict, case, weights=path, exit_code=5, code="E-SAFE-02", says=says)
    torch.save({"w": Payload(canary)}, path, _use_new_zipfile_serialization=False)
    refused(predict, case, weights=path, exit_code=5, code="E-SAFE-02", says=says)
    assert not canary.exists()


def test_i3_an_object_array_is_no_image_under_any_name(
    folder: Path, data_list: Path, predict: Run, refused: Gate, canary: Path
) -> None:
    array, content = io.BytesIO(), json.loads(data_list.read_text())
    np.save(array, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    first = content["training"][0]
    for name, raw in {
        "x.npy": array.getvalue(),
        "x.nii": array.getvalue(),
        "x.nii.gz": gzip.compress(array.getvalue()),
    }.items():
        (folder / "TRAINING" / name).write_bytes(raw)
        first["cbf"] = f"TRAINING/{name}"
        publish_json(data_list, content)
        words = (folder, "--data-list", data_list, "--folds", first["fold"])
        gates.require_refusal(predict(*words), exit_code=3, code="E-FILE-03", says=[first["case"], name])
    assert not canary.exists()


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """A bundle in a zip, with one more member."""

    def make(member: zipfile.ZipInfo | str, content: bytes = b"x") -> Path:
        with zipfile.ZipFile(tmp_path / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(BUNDLE / "inference.json", "clerigues/configs/inference.json")
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
        return tmp_path / "bundle.zip"

    return make


@pytest.fixture
def unpack_refused(run: Run, refused: Gate, tmp_path: Path) -> Callable[..., None]:
    """Require that ``check --unpack`` refuses an archive and leaves nothing of it anywhere."""

    def gate(archive: Path, **how: object) -> None:
        words = ("check", "--bundle", archive, "--unpack", tmp_path / "place/out")
        refused(run, *words, exit_code=5, **how)
        assert not (tmp_path / "place").exists()

    return gate


def test_a_sound_bundle_is_unpacked_whole(zipped: Callable, run: Run, works: Gate, tmp_path: Path) -> None:
    works(run, "check", "--bundle", zipped("clerigues/LICENSE"), "--unpack", tmp_path / "out")
    assert (tmp_path / "out/clerigues/configs/inference.json").read_bytes() == (BUNDLE / "inference.json").read_bytes()


@pytest.mark.parametrize("name", ["../../x", "clerigues/../../x", "..\\..\\x"])
def test_i4_a_member_that_climbs_out_is_refused(zipped: Callable, unpack_refused: Callable, name: str) -> None:
    unpack_refused(zipped(name), code="E-SAFE-04", says=[repr(name), "bundle.zip", "leaves the folder"])


def test_i5_an_absolute_member_is_refused_and_no_earlier_one_stays(
    zipped: Callable, unpack_refused: Callable, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere"
    unpack_refused(zipped(str(target)), code="E-SAFE-04", says=[repr(str(target)), "an absolute path"])
    assert not target.exists()


def test_i6_a_link_is_refused_by_rule(zipped: Callable, unpack_refused: Callable) -> None:
    link = zipfile.ZipInfo("clerigues/link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    unpack_refused(zipped(link, b"/etc/passwd"), code="E-SAFE-05", says=["'clerigues/link'", "plain files"])


def test_i7_a_bomb_is_refused_by_its_ratio(zipped: Callable, unpack_refused: Callable) -> None:
    says = ["bundle.zip", "2 members, 20000", "ratio 10", "limits: 10000 members"]
    unpack_refused(zipped("clerigues/zeros", bytes(200_000_000)), code="E-SAFE-06", says=says)


@pytest.fixture
def own_bundle(bundle_with: Callable, tmp_path: Path) -> Path:
    """A bundle with weights of its own and the checksum of others."""
    bundle = bundle_with(lambda config: config.update(calibration=None))
    torch.manual_seed(1)
    publish_state(bundle / "models/model.pt", AsymmetricResUNet(2, 10).state_dict())
    publish_json(bundle / "metadata.json", {"weights_sha256": "0" * 64})
    return bundle


def test_i8_weights_of_another_checksum_than_stated_are_refused(
    case: Path, own_bundle: Path, run: Run, refused: Gate, works: Gate, tmp_path: Path
) -> None:
    found = sha256_of(own_bundle / "models/model.pt")
    words = ("--bundle", own_bundle, "--step", "32", "--mc-passes", "1", "--threads", "1", "--out", tmp_path / "out")
    says = ["models/model.pt", found, "expected 0000", "copy the file again"]
    refused(run, "predict", case, *words, exit_code=5, code="E-SAFE-03", says=says)
    refused(run, "check", "--bundle", own_bundle, exit_code=5, code="E-SAFE-03", says=says)
    evaluate = ("run", "--config_file", own_bundle / "inference.json", "--bundle_root", own_bundle)
    where = ("--dataset_dir", case.parents[1], "--output_dir", tmp_path / "out", "--logging_file", "False")
    refused(run, *evaluate, *where, program="monai.bundle", exit_code=5, code="E-SAFE-03", says=says)
    publish_json(own_bundle / "metadata.json", {"weights_sha256": found})
    works(run, "predict", case, *words)


def hostile(config: dict, canary: Path, how: str) -> None:
    """Hide a command in a config: where it is resolved first, and deep inside a transform."""
    run = f"touch {canary}"
    if how == "expression":
        config["device"] = f"$__import__('os').system('{run}')"
    elif how == "deep expression":
        config["postprocessing"]["transforms"][0]["border_vox"] = (
            f"$@border if not ().__class__ else open('{canary}', 'w')"
        )
    elif how == "target":
        config["network_def"] = {"_target_": "os.system", "command": run}
    else:
        config["preprocessing"]["transforms"][3] = {
            "_target_": "subprocess.check_output",
            "args": ["touch", str(canary)],
        }


@pytest.mark.parametrize("how", ["expression", "deep expression"])
def test_i9_a_dollar_expression_that_does_more_than_it_may_is_refused(
    case: Path, bundle_with: Callable, run: Run, predict: Run, refused: Gate, canary: Path, how: str
) -> None:
    bundle = bundle_with(lambda config: hostile(config, canary, how))
    says = ["inference.json: ", "use the dotted path of a function of the package as target instead"]
    refused(predict, case, bundle=bundle, exit_code=5, code="E-SAFE-08", says=says)
    refused(run, "check", "--bundle", bundle, exit_code=5, code="E-SAFE-08", says=says)
    assert not canary.exists()


@pytest.mark.parametrize("how", ["target", "deep target"])
def test_i10_a_target_outside_the_allow_list_is_refused(
    case: Path, bundle_with: Callable, run: Run, predict: Run, refused: Gate, canary: Path, how: str
) -> None:
    bundle = bundle_with(lambda config: hostile(config, canary, how))
    says = ["inference.json: ", "#_target_", "outside the allow-list"]
    refused(predict, case, bundle=bundle, exit_code=5, code="E-SAFE-07", says=says)
    refused(run, "check", "--bundle", bundle, exit_code=5, code="E-SAFE-07", says=says)
    assert not canary.exists()


def test_i10_an_overlay_is_no_way_around(
    case: Path, bundle_with: Callable, predict: Run, refused: Gate, canary: Path
) -> None:
    bundle = bundle_with(lambda config: None)
    publish_json(bundle / "evil.json", {"network_def": {"_target_": "os.system", "command": f"touch {canary}"}})
    says = ["evil.json: network_def#_target_"]
    refused(predict, case, "--overlay", "evil.json", bundle=bundle, exit_code=5, code="E-SAFE-07", says=says)
    assert not canary.exists()


def test_i11_a_python_tag_in_yaml_is_refused_with_file_and_line(
    case: Path, bundle_with: Callable, run: Run, predict: Run, refused: Gate, canary: Path
) -> None:
    bundle = bundle_with(lambda config: None)
    text = f"a: 1\nnetwork_def: !!python/object/apply:os.system ['touch {canary}']\n"
    (bundle / "train.yaml").write_text(text)
    says = ["train.yaml", "line 2, column 14", "python/object/apply:os.system"]
    refused(run, "check", "--bundle", bundle, exit_code=4, code="E-FILE-19", says=says)
    refused(predict, case, bundle=bundle, exit_code=4, code="E-FILE-19", says=says)
    assert not canary.exists()


def test_i12_a_logging_conf_that_runs_code_is_refused(
    case: Path, bundle_with: Callable, run: Run, predict: Run, refused: Gate, canary: Path
) -> None:
    bundle = bundle_with(lambda config: None)
    text = (BUNDLE / "logging.conf").read_text()
    (bundle / "logging.conf").write_text(text.replace("(sys.stderr,)", f"(__import__('os').system('touch {canary}'),)"))
    says = ["logging.conf: [handler_console] args", "use StreamHandler or FileHandler"]
    refused(run, "check", "--bundle", bundle, exit_code=5, code="E-SAFE-09", says=says)
    refused(predict, case, bundle=bundle, exit_code=5, code="E-SAFE-09", says=says)
    assert not canary.exists()


def test_i12_our_own_bundles_are_clean(run: Run, works: Gate) -> None:
    for bundle in sorted(BUNDLE.parent.iterdir()):
        works(run, "check", "--bundle", bundle, says=["0 errors"])


def require_nobody(place: Path, *said: str) -> None:
    """Search every byte, unpacked, every name and every word for the planted patient."""
    for path in place.rglob("*"):
        raw = path.read_bytes() if path.is_file() else b""
        raw = gzip.decompress(raw) if path.name.endswith(".gz") else raw
        found = [word for word in PLANTED if word.encode() in raw or word in path.name]
        if found:
            raise gates.SilentlyWrong(f"{found} in {path}")
    for text in said:
        if any(word in text for word in PLANTED):
            raise gates.SilentlyWrong(f"a patient in what was said: {text[-2000:]}")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A DICOM series of a patient with a name, a number and a date that nothing else has."""
    series = write_scan(tmp_path / "in/series")
    for path in series.iterdir():
        header = pydicom.dcmread(path)
        header.PatientName, header.PatientID, header.PatientComments = "ZZPATIENT^ZZPATIENT", "ZZNUMBER7", "ZZBORN"
        header.OtherPatientNames = header.ReferringPhysicianName = "ZZPATIENT^B"
        header.AccessionNumber, header.InstitutionName = "ZZNUMBER8", "ZZBORN clinic"
        header.save_as(path, enforce_file_format=True)
    return series


@pytest.mark.long
def test_i13_a_name_in_dicom_is_found_in_no_output_and_no_log(planted: Path, run: Run, tmp_path: Path) -> None:
    bundle, out = BUNDLE.parent / "threshold", tmp_path / "out"
    words = ("predict-series", planted, "--bundle", bundle, "--threads", "1", "--bids", "--no-dicom")
    shown = run(*words, "--out", out / "a")
    gates.require_success(shown)
    maps = run("perfusion", planted, "--out", out / "b", "--threads", "1", "--no-motion")
    gates.require_success(maps)
    require_nobody(out, shown.text, maps.text)


def test_i13_not_when_the_series_is_refused_either_nor_when_debugging(planted: Path, run: Run, tmp_path: Path) -> None:
    first = sorted(planted.iterdir())[0]
    header = pydicom.dcmread(first)
    header.ImagePositionPatient = ["0", "0", "9999"]
    header.save_as(first, enforce_file_format=True)
    words = ("perfusion", planted, "--out", tmp_path / "out", "--threads", "1")
    shown, debugged = run(*words), run(*words, "--debug")
    gates.require_refusal(shown, exit_code=4, code="E-DCM-[0-9]+", says=[str(planted)])
    require_nobody(tmp_path / "out", shown.text, debugged.text)


def test_i13_a_name_in_a_nifti_header_is_found_in_no_output_and_no_log(
    case: Path, predict: Run, run: Run, tmp_path: Path
) -> None:
    for path in sorted(case.glob("*/*.nii")):
        image = nibabel.load(path)
        image.header["descrip"], image.header["db_name"] = b"ZZPATIENT 19230405", b"ZZNUMBER7"
        image.header["aux_file"], image.header["intent_name"] = b"ZZBORN", b"ZZPATIENT"
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"ZZPATIENT was here"))
        path.write_bytes(nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), image.affine, image.header).to_bytes())
    shown, checked = predict(case, "--bids", "--entropy", "--debug"), run("check", case.parents[1])
    gates.require_success(shown)
    gates.require_success(checked)
    require_nobody(tmp_path / "out", shown.text, checked.text)
