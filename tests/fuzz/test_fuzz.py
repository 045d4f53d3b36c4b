"""Thirty damaged images through ``check`` and ``predict --dry-run``; ``make fuzz`` sends eleven thousand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.reliability.children import Forks

pytest.importorskip("pydicom")


def test_no_damaged_image_is_a_crash_or_taken_for_a_sound_one(server: Forks, tmp_path: Path) -> None:
    words = ["--nifti", "30", "--dicom", "8", "--seed", "7", "--keep", tmp_path, "--page", tmp_path / "page.md"]
    done = server.run(*words, program="tests.fuzz.run")
    assert done.code == 0, done.text
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert (len(rows["NIfTI"]), len(rows["DICOM"])) == (30, 8)
    counts = Counter(row["outcome"] for row in rows["NIfTI"])
    assert counts["refused"] > 15 and counts["accepted: the same image"] > 1, counts
    assert "| all | 30 |" in (tmp_path / "page.md").read_text()


def test_a_wrong_accept_would_be_seen(tmp_path: Path) -> None:
    from tests.fuzz.mutations import UNDETECTABLE
    from tests.fuzz.truth import base_images, nifti_verdict

    base, case = base_images(tmp_path / "base"), tmp_path / "case"
    case.mkdir()
    (case / "ct.nii").write_bytes((base / "ct.nii").read_bytes())
    assert nifti_verdict("0|ct|.nii|cut", case, base) == "accepted: the same image"
    raw = bytearray((base / "ct.nii").read_bytes())
    raw[400] ^= 1
    (case / "ct.nii").write_bytes(bytes(raw))
    assert nifti_verdict(f"0|ct|.nii|{UNDETECTABLE[0]}", case, base) == "accepted: changed voxels, no checksum"


def test_a_wrong_refusal_would_be_seen_and_a_right_one_is_none(tmp_path: Path) -> None:
    import gzip

    import nibabel

    from tests.fuzz.readable import wrongly_refused
    from tests.fuzz.truth import base_images

    base, case = base_images(tmp_path / "base"), tmp_path / "case"
    case.mkdir()
    raw = (base / "mtt.nii").read_bytes()

    def judged(stored: bytes, suffix: str = ".nii") -> bool:
        (case / f"mtt{suffix}").write_bytes(stored)
        return wrongly_refused(f"0|mtt|{suffix}|any", case, base)

    def patched(**fields: object) -> bytes:
        header = np.frombuffer(raw[:348], nibabel.nifti1.header_dtype).copy()
        for name, value in fields.items():
            header[name] = value
        return header.tobytes() + raw[348:]

    zipped = gzip.compress(raw, mtime=0)
    assert judged(raw) and judged(zipped, ".nii.gz") and judged(patched(sform_code=7))
    assert not judged(zipped[:-8] + bytes([zipped[-8] ^ 1]) + zipped[-7:], ".nii.gz")  # the checksum knew
    assert not judged(gzip.compress(raw + bytes(2**26 + 1000), 1), ".nii.gz")  # a bomb
    assert not judged(patched(qoffset_x=50.0))  # two places
    assert not judged(patched(scl_slope=1.0)) and not judged(raw[:-1])  # hundreds of seconds; cut
    moved = patched(qoffset_x=50.0, srow_x=[-1.5, 0, 0, 50.0])
    assert not judged(moved)  # on another grid than the case, and read alone


def test_a_stream_that_its_checksum_contradicts_is_told_from_a_sound_one(tmp_path: Path) -> None:
    import gzip

    from tests.fuzz.truth import checksum_knew

    whole = gzip.compress(b"voxels" * 1000, mtime=0) + gzip.compress(b"more", mtime=0)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(whole)
    assert not checksum_knew(path)
    path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    assert checksum_knew(path)
    path.write_bytes(whole[:-9])
    assert checksum_knew(path)


def test_every_way_of_damage_is_drawn_and_none_but_a_few_leave_the_file_as_it_was(tmp_path: Path) -> None:
    from tests.fuzz.mutations import mutate_nifti
    from tests.fuzz.mutations_dicom import mutate_dicom
    from tests.fuzz.truth import base_images, base_study

    raw = (base_images(tmp_path / "base") / "cbf.nii").read_bytes()
    made = [mutate_nifti(raw, np.random.default_rng(n)) for n in range(400)]
    assert len({one.name for one in made}) == 27 and sum(one.stored == raw for one in made) < 12
    image = sorted(base_study(tmp_path / "dicom")["classic"].iterdir())[0].read_bytes()
    made = [mutate_dicom(image, np.random.default_rng(n)) for n in range(200)]
    assert len({one.name for one in made}) == 16 and sum(one.stored == image for one in made) < 20


def test_a_wrong_refusal_of_a_dicom_study_would_be_seen_and_a_right_one_is_none(tmp_path: Path) -> None:
    import shutil

    import pydicom

    from tests.fuzz.readable import study_wrongly_refused
    from tests.fuzz.truth import base_study

    sound = base_study(tmp_path / "studies")["classic"]
    case = tmp_path / "case"

    def judged(change: Callable[[Path], object]) -> bool:
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(sound, case)
        path = sorted(case.iterdir())[3]
        change(path)
        return study_wrongly_refused(case, sound)

    def named(path: Path) -> None:
        header = pydicom.dcmread(path)
        header.InstitutionName = "elsewhere"
        header.save_as(path)

    def moved(path: Path) -> None:
        header = pydicom.dcmread(path)
        header.ImagePositionPatient = [*header.ImagePositionPatient[:2], 99]
        header.save_as(path)

    def bright(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[-100] ^= 4
        path.write_bytes(raw)

    assert judged(named)
    assert not judged(moved) and not judged(bright)
    assert not judged(lambda path: path.write_bytes(path.read_bytes()[:-40]))
    assert not judged(lambda path: path.write_bytes(path.read_bytes() + b"x"))
