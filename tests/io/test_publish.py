"""A published file is whole, right, on the input's grid, and never an input."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import publish_json, read_image
from monai_isles.io.publish import publish, publish_image, publish_text, publish_together

Write = Callable[..., Path]


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    publish_text(tmp_path / "a.txt", "old")

    def fail(tmp: Path) -> None:
        tmp.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(IslesError, match=r"E-FILE-10(?s:.*)a\.txt(?s:.*)No space left(?s:.*)unchanged"):
        publish(tmp_path / "a.txt", fail)
    assert (tmp_path / "a.txt").read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_fault_of_ours_leaves_no_part(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        publish(tmp_path / "a.txt", lambda tmp: tmp.write_text(str(1 / 0)))
    assert os.listdir(tmp_path) == []


def test_a_read_only_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)  # such a disk refuses to delete, before it looks for the file
    with pytest.raises(IslesError, match=r"E-FILE-10(?s:.*)Read-only file system"):
        publish(tmp_path / "a.txt", refuse)


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(IslesError, match=r"E-FILE-10(?s:.*)out"):
        publish_text(tmp_path / "out" / "a.txt", "new")


@pytest.mark.parametrize("name", ["a.txt", "link.txt", "sub/../a.txt"])
def test_an_input_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("input")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    with pytest.raises(IslesError, match=r"E-FILE-11: output would overwrite an input"):
        publish_text(tmp_path / name, "new", inputs=[tmp_path / "a.txt"])
    assert (tmp_path / "a.txt").read_text() == "input"


def test_an_input_that_is_gone_is_still_protected(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match="E-FILE-11"):
        publish_text(tmp_path / "gone.txt", "new", inputs=[tmp_path / "gone.txt"])


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    publish_json(tmp_path / "a.json", {"n": np.int64(1), "größe": "ü"})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "n": 1,\n  "größe": "ü"\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        publish_json(tmp_path / "a.json", {"n": np.float32("nan")})
    with pytest.raises(TypeError, match="'object'"):
        publish_json(tmp_path / "a.json", {"n": object()})


def test_usual_permissions_are_kept(tmp_path: Path) -> None:
    publish_text(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([-1.0, -2, 5, 1]),
        np.diag([1.0, 2, -5, 1]),
        np.array([[0, 0, 5.0, 1], [-1, 0, 0, 2], [0, 2, 0, 3], [0, 0, 0, 1]]),
    ],
)
@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_a_result_lies_on_the_voxels_of_its_input(
    write: Write, tmp_path: Path, volume: np.ndarray, affine: np.ndarray, name: str
) -> None:
    source = write(volume, affine=affine)
    image = read_image(source)
    publish_image(tmp_path / name, image.data > 10, image, dtype=np.uint8)
    result = nibabel.load(tmp_path / name)
    assert np.array_equal(result.get_fdata(), volume > 10)  # in the stored order of the input
    assert np.allclose(result.affine, nibabel.load(source).affine) and result.get_data_dtype() == np.uint8


def test_equal_results_are_equal_bytes(write: Write, tmp_path: Path, volume: np.ndarray) -> None:
    image = read_image(write(volume))
    for name in ("one.nii.gz", "two.nii.gz"):
        publish_image(tmp_path / name, image.data, image, dtype=np.float32)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_an_oblique_grid_survives_the_round_trip(write: Write, tmp_path: Path, volume: np.ndarray) -> None:
    turn = np.radians(17.0)
    affine = np.diag([1.0, 1, 5, 1])
    affine[1:3, 1:3] = [[np.cos(turn), -5 * np.sin(turn)], [np.sin(turn), 5 * np.cos(turn)]]
    affine[0, 2] = 0.004  # a trace of shear, below the tolerance: kept in the sform alone
    image = read_image(write(volume, affine=affine, patch={"qform_code": 0}))
    publish_image(tmp_path / "o.nii.gz", image.data, image, dtype=np.float32)
    assert np.allclose(read_image(tmp_path / "o.nii.gz").native_affine, affine, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (0.5, np.uint8, "0.5"),
        (40000, np.int16, "40000"),
        (-1, np.uint8, "-1"),
        (1e300, np.float32, r"1e\+300"),
        (np.nan, np.float32, "nan"),
        (np.nan, np.int16, "nan"),
    ],
)
def test_casts_that_lose_a_value_are_refused(
    write: Write, tmp_path: Path, volume: np.ndarray, value: float, dtype: type, words: str
) -> None:
    image = read_image(write(volume))
    data = image.data.astype(np.float64)
    data[0, 0, 0] = value
    with pytest.raises(IslesError, match=rf"E-VAL-07(?s:.*)1 of 24 voxels do not fit(?s:.*)for example {words}"):
        publish_image(tmp_path / "o.nii.gz", data, image, dtype=dtype)
    assert not (tmp_path / "o.nii.gz").exists()


def test_another_shape_is_refused(write: Write, tmp_path: Path, volume: np.ndarray) -> None:
    image = read_image(write(volume))
    with pytest.raises(IslesError, match=r"E-DIM-07(?s:.*)\(4, 3, 1\), input \(4, 3, 2\)"):
        publish_image(tmp_path / "o.nii.gz", image.data[..., :1], image, dtype=np.float32)


def test_another_suffix_is_refused(write: Write, tmp_path: Path, volume: np.ndarray) -> None:
    image = read_image(write(volume))
    with pytest.raises(IslesError, match=r"E-FILE-12(?s:.*)\.mha(?s:.*)\.nii\.gz"):
        publish_image(tmp_path / "o.mha", image.data, image, dtype=np.float32)


def test_the_source_image_is_an_input(write: Write, volume: np.ndarray) -> None:
    path = write(volume)
    before = path.read_bytes()
    with pytest.raises(IslesError, match="E-FILE-11"):
        publish_image(path, volume, read_image(path), dtype=np.float32)
    assert path.read_bytes() == before


def test_a_result_that_reads_back_differently_is_not_published(
    write: Write, tmp_path: Path, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = read_image(write(volume))
    monkeypatch.setattr("monai_isles.io.publish.from_ras", lambda data, affine: data * 2)
    with pytest.raises(IslesError, match="E-FILE-13: image reads back differently"):
        publish_image(tmp_path / "o.nii.gz", image.data, image, dtype=np.float32)
    assert not (tmp_path / "o.nii.gz").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_an_error_and_the_old_file_stays(write: Write, tmp_path: Path) -> None:
    noise = write(np.random.default_rng(0).random((32, 32, 4), dtype=np.float32), "in.nii")
    (tmp_path / "out.nii.gz").write_bytes(b"old")
    program = f"""
import resource, signal, numpy as np
from monai_isles.io.publish import publish_image
from monai_isles.io.read import read_image
from monai_isles.errors import IslesError
image = read_image({str(noise)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    publish_image({str(tmp_path / "out.nii.gz")!r}, image.data, image, dtype=np.float32)
except IslesError as error:
    raise SystemExit(error.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "E-FILE-10" and (tmp_path / "out.nii.gz").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["in.nii", "out.nii.gz"]


def test_a_reader_never_sees_a_part_while_another_process_writes(tmp_path: Path) -> None:
    program = f"""
from monai_isles.io.publish import publish_text
while True:
    for letter in "ab":
        publish_text({str(tmp_path / "f.txt")!r}, letter * 200000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    try:
        seen = set()
        while len(seen) < 2:
            assert all(writer.poll() is None for writer in writers)
            if (tmp_path / "f.txt").exists():
                text = (tmp_path / "f.txt").read_text()
                assert text in ("a" * 200000, "b" * 200000)
                seen.add(text[0])
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()


def test_several_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        publish_text(tmp_path / name, "old")

    def full(tmp: Path) -> None:
        tmp.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(IslesError, match=r"E-FILE-10(?s:.*)b\.txt(?s:.*)No space left"):
        publish_together([(tmp_path / "a.txt", lambda tmp: tmp.write_text("new")), (tmp_path / "b.txt", full)])
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old", "b.txt": "old"}
    publish_together([(tmp_path / name, lambda tmp: tmp.write_text("new")) for name in ("a.txt", "sub/c.txt")])
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "sub/c.txt").read_text() == "new"
    with pytest.raises(IslesError, match="E-FILE-11"):
        publish_together([(tmp_path / "d.txt", full), (tmp_path / "a.txt", full)], inputs=[tmp_path / "a.txt"])
