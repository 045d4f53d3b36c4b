"""Studies on several processes give the records and files of one; options that mean nothing are refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.cohort.task import Task, attempt
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.workflows import perfusion

ROOT = Path(__file__).parents[2]
NOBODY = "nobody"


@pytest.fixture(scope="module")
def studies(scan: CaseArrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a scan of two slices and its mirror image as NIfTI folders, scan_b first by its name; read only."""
    folder = tmp_path_factory.mktemp("studies")
    for name, side in (("scan_z", 1), ("scan_b", -1)):
        (folder / name).mkdir()
        series = nibabel.Nifti1Image(np.moveaxis(scan.ctp, 0, -1)[::side].copy(), np.diag([*scan.spacing_mm, 1.0]))
        series.header.set_xyzt_units("mm", "sec")
        series.header["pixdim"][4] = scan.dt_s
        series.set_sform(series.affine, 1)
        series.set_qform(series.affine, 1)
        nibabel.save(series, folder / name / "ctp.nii.gz")
    return folder


def words(out: Path, *studies: Path | str, more: tuple[str, ...] = ()) -> list[str]:
    place = ["--bundle", str(ROOT / "bundles/threshold"), "--out", str(out), "--threads", "1"]
    return ["predict-series", *map(str, studies), *place, *more]


def contents(out: Path) -> dict[str, str]:
    """Checksums of the images, which have no time in them."""
    files = [path for path in sorted(out.rglob("*")) if path.suffix == ".gz"]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def records(out: Path) -> dict[str, dict]:
    cases = json.loads((out / "run.json").read_text(encoding="utf-8"))["cases"]
    for one in cases.values():
        one.pop("seconds", None)
    return cases


@pytest.mark.long
def test_two_workers_write_what_one_writes_and_a_rerun_does_the_rest(
    studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (studies / "scan_z", tmp_path / NOBODY, studies / "scan_b")
    assert main(words(tmp_path / "one", *given, more=("--entropy",))) == 3
    assert main(words(tmp_path / "two", *given, more=("--entropy", "--bids", "--workers", "2"))) == 3
    assert "2 of 3 cases" in capsys.readouterr().out
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == {name: digest for name, digest in two.items() if "derivatives" not in name}
    assert "scan_b/core.nii.gz" in one and "scan_z/entropy.nii.gz" in one and len(two) > len(one)
    assert records(tmp_path / "one") == records(tmp_path / "two")
    assert list(records(tmp_path / "one")) == ["scan_z", "study 2", "scan_b"]
    assert "E-SCAN-01" in records(tmp_path / "two")["study 2"]["error"]
    maps = (tmp_path / "two/scan_b/maps/cbf.nii.gz").stat().st_mtime_ns
    (tmp_path / "two/scan_b/report.html").unlink()
    assert main(words(tmp_path / "two", *given[::-1])) == 3
    outcomes = {name: one["outcome"] for name, one in records(tmp_path / "two").items()}
    assert outcomes == {"scan_b": "ok", "study 2": "failed", "scan_z": "done before"}
    assert (tmp_path / "two/scan_b/maps/cbf.nii.gz").stat().st_mtime_ns == maps
    assert not (tmp_path / "two/scan_b/entropy.nii.gz").exists()


def test_a_cluster_is_told_absolute_paths_what_a_case_needs_and_where_to_keep_cases(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand in for a cluster: the tasks are pickled and done in another folder by a process without a predictor."""
    seen: list[Task] = []

    def elsewhere(work: object, tasks: list[Task], **place: object) -> dict[str, dict]:
        seen.extend(tasks)
        assert {"cluster": "tcp://h:1", "gpus": 2, "memory_gb": 1.5}.items() <= place.items()
        before = Path.cwd()
        os.chdir("/")
        try:
            work, tasks = pickle.loads(pickle.dumps((work, tasks)))
            return {task.case: attempt(work, task) for task in tasks}
        finally:
            os.chdir(before)

    monkeypatch.setattr(perfusion, "run_cases", elsewhere)
    monkeypatch.chdir(studies)
    out = os.path.relpath(tmp_path / "out")
    more = ("--cluster", "tcp://h:1", "--case-gpus", "2", "--case-memory", "1.5", "--no-report", "--cache",
            os.path.relpath(tmp_path / "cache"))  # fmt: skip
    assert main(words(Path(out), "scan_b", more=more)) == 0
    assert [task.case for task in seen] == ["scan_b"]
    assert (tmp_path / "out/scan_b/result.json").is_file() and list((tmp_path / "cache").glob("case-*.entry"))


def test_one_broken_study_takes_no_other_along(studies: Path, tmp_path: Path, capsys) -> None:
    broken = tmp_path / "scan_a"
    broken.mkdir()
    whole = (studies / "scan_b/ctp.nii.gz").read_bytes()
    (broken / "ctp.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert main(words(tmp_path / "out", broken, studies / "scan_b", more=("--no-report",))) == 3
    found = records(tmp_path / "out")
    assert [(name, one["outcome"]) for name, one in found.items()] == [("scan_a", "failed"), ("scan_b", "ok")]
    assert "E-FILE-05" in found["scan_a"]["error"] and "1 of 2 cases" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "named"), [
    (("--data-list", "list.json", "--from-series", "s"), "unrecognized arguments: --data-list list.json"),
    (("case_1", "--dt", "2", "--show-patient"), "unrecognized arguments: --dt 2 --show-patient"),
    (("--workers", "0", "--from-series", "s"), "E-USE-60: the number of workers is not valid"),
])  # fmt: skip
def test_options_without_a_meaning_are_refused(
    more: tuple[str, ...], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(ROOT / "bundles/threshold")
    assert main(["predict", "--bundle", bundle, "--out", str(tmp_path / "out"), *more]) == 2
    assert named in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_dry_run_of_series_reads_with_the_words_of_the_run(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from monai_isles.workflows import predict_dry

    read, heard = predict_dry.read_study, []
    monkeypatch.setattr(predict_dry, "read_study", lambda one, **how: heard.append(how) or read(one, **how))
    more = ("--dry-run", "--resample", "--dt", "1.5")
    assert main(words(tmp_path / "out", tmp_path / NOBODY, studies / "scan_b", more=more)) == 3
    said = capsys.readouterr().out
    assert heard == [{"dt_s": 1.5, "resample": True, "slab_mm": None}] and not (tmp_path / "out").exists()
    assert said.index("study 1: failed") < said.index("scan_b: ready, ctp") and "E-SCAN-01" in said
