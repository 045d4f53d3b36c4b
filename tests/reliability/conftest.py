"""The gates every case of the reliability list passes, and the tools that make its bad input."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.data import make_datalist
from monai_isles.io import publish_json, read_image

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/clerigues"
FAST = ("--step", "32", "--mc-passes", "1", "--threads", "1", "--no-report")
RECORDS = {"out/run.json", "out/run.previous.json"}
SECONDS = 60


@dataclass(frozen=True)
class Shown:
    """What a command returned and printed, its log included."""

    code: int
    text: str


@pytest.fixture
def folder(phantom_folder: Path, tmp_path: Path) -> Path:
    """The simulated scans, copied, to be damaged."""
    return shutil.copytree(phantom_folder, tmp_path / "data", ignore=shutil.ignore_patterns("truth"))


@pytest.fixture
def case(phantom_folder: Path, tmp_path: Path) -> Path:
    """One scan, copied, alone in a data folder, to be damaged."""
    return shutil.copytree(phantom_folder / "TRAINING/case_1", tmp_path / "data/TRAINING/case_7")


@pytest.fixture
def image_of() -> Callable[[Path, str], Path]:
    """Return the file of a case folder that holds one kind of image, named as ISLES 2018 does."""
    return lambda case, key: next(case.glob(f"*.{key}.*/*.nii*"))


@pytest.fixture
def rewrite() -> Callable[..., Path]:
    """Write a changed image in the place of a file: other voxels, affine, header fields, codes, or name."""

    def write(
        path: Path,
        data: np.ndarray | None = None,
        *,
        affine: np.ndarray | None = None,
        fields: Mapping[str, object] | None = None,
        codes: tuple[int, int] = (1, 1),
        suffix: str = ".nii",
    ) -> Path:
        before = nibabel.load(path)
        affine = before.affine if affine is None else affine
        image = nibabel.Nifti1Image(np.asarray(before.dataobj) if data is None else data, None)
        image.set_sform(affine, codes[0])
        if codes[1]:
            image.set_qform(affine, codes[1])
        image.header.set_xyzt_units("mm", "sec")
        raw = bytearray(image.to_bytes())
        header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
        for field, value in (fields or {}).items():
            header[field] = value
        raw[:348] = header.binaryblock
        path.unlink()
        path = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + suffix)
        path.write_bytes(gzip.compress(bytes(raw), mtime=0) if suffix.endswith(".gz") else bytes(raw))
        return path

    return write


@pytest.fixture
def data_list(folder: Path, tmp_path: Path) -> Path:
    """The list of ``folder``, two folds; made before the test damages anything."""
    path = tmp_path / "list.json"
    publish_json(path, make_datalist(folder, folds=2))
    return path


@pytest.fixture(scope="session")
def finished(phantom_folder: Path, untrained_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of two sound scans, case_1 and case_2, made with the settings of every test here."""
    out = tmp_path_factory.mktemp("finished") / "out"
    cases = [str(phantom_folder / f"TRAINING/case_{number}") for number in (1, 2)]
    assert main(["predict", *cases, *_settings(untrained_weights), "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[..., Shown]:
    """Run ``monai-isles`` in this process."""

    def command(*words: object) -> Shown:
        capsys.readouterr()
        caplog.clear()
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return Shown(code, shown.out + shown.err + caplog.text)

    return command


@pytest.fixture
def predict(run: Callable[..., Shown], finished: Path, untrained_weights: Path, tmp_path: Path) -> Callable[..., Shown]:
    """Predict into ``out``, which holds the finished case_2 from an earlier run."""
    shutil.copytree(finished / "case_2", tmp_path / "out/case_2")
    shutil.copy(finished / "run.json", tmp_path / "out/run.json")

    def command(*words: object, bundle: Path = BUNDLE) -> Shown:
        return run("predict", *words, *_settings(untrained_weights, bundle), "--out", tmp_path / "out")

    return command


@pytest.fixture
def training(folder: Path, data_list: Path, tmp_path: Path) -> Callable[..., Shown]:
    """Train by the verbatim command, in a child process, on ``folder`` by ``data_list`` into ``run``."""

    def command(*words: str) -> Shown:
        tiny = ("--patches_per_case", "16", "--validation_step", "[32,32]", "--max_epochs", "1")
        where = ("--data_list", data_list, "--dataset_dir", folder, "--output_dir", tmp_path / "run")
        start = (sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "training")
        config = ("--config_file", "bundles/clerigues/train.json")
        done = subprocess.run(
            [str(word) for word in (*start, *config, *where, *tiny, *words)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=SECONDS,
        )
        return Shown(done.returncode, done.stdout + done.stderr)

    return command


@pytest.fixture
def bundle_with(tmp_path: Path) -> Callable[[Callable[[dict], object]], Path]:
    """Return the bundle after a change to its ``inference.json``."""

    def changed(change: Callable[[dict], object]) -> Path:
        config = json.loads((BUNDLE / "inference.json").read_text())
        change(config)
        publish_json(tmp_path / "bundle/inference.json", config)
        return tmp_path / "bundle"

    return changed


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., Shown]:
    """Run a command that must refuse: code, words, a fix; nothing lost, nothing left."""

    def gate(
        command: Callable[..., Shown], *words: object, exit_code: int, code: str, says: Sequence[str], **options: object
    ) -> Shown:
        before = _digests(tmp_path)
        shown = command(*words, **options)
        assert shown.code == exit_code, shown.text
        assert re.search(rf"\b{code}: \S.*\n\s+where \S.*\n\s+found \S.*\n\s+fix   \S", shown.text), shown.text
        assert "Traceback" not in shown.text
        assert [word for word in says if word not in shown.text] == [], shown.text
        after = _digests(tmp_path)
        assert {name: after.get(name) for name in before if name not in RECORDS} == _without(before, RECORDS)
        assert set(after) - set(before) <= RECORDS | {"run/data_list.json"}
        _require_whole(tmp_path, set(after) - set(before))
        return shown

    return gate


@pytest.fixture
def works(tmp_path: Path) -> Callable[..., Shown]:
    """Run a command that must simply work: exit code 0, inputs untouched, every new file whole."""

    def gate(command: Callable[..., Shown], *words: object, says: Sequence[str] = (), **options: object) -> Shown:
        before = _digests(tmp_path)
        shown = command(*words, **options)
        assert shown.code == 0, shown.text
        assert [word for word in says if word not in shown.text] == [], shown.text
        after = _digests(tmp_path)
        assert {name: after.get(name) for name in before if name not in RECORDS} == _without(before, RECORDS)
        _require_whole(tmp_path, set(after) - set(before))
        return shown

    return gate


@pytest.fixture
def same_maps(finished: Path, tmp_path: Path) -> Callable[[], None]:
    """Require that the maps of case_7 are, in RAS+, those of the scan it was copied from."""

    def compare() -> None:
        for name in ("probability", "lesion"):
            ours, sound = (
                read_image(path / f"{name}.nii.gz") for path in (tmp_path / "out/case_7", finished / "case_1")
            )
            np.testing.assert_allclose(ours.affine, sound.affine, atol=1e-3)
            np.testing.assert_allclose(ours.data, sound.data, atol=1e-5)

    return compare


def _settings(weights: Path, bundle: Path = BUNDLE) -> tuple[str, ...]:
    return ("--bundle", str(bundle), "--weights", str(weights), *FAST)


def _digests(folder: Path) -> dict[str, str]:
    """Return the checksum of every file, the registration cache left out: it is no result."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and ".monai_isles_cache" not in p.parts]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _without(digests: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: digest for name, digest in digests.items() if name not in names}


def _require_whole(folder: Path, names: set[str]) -> None:
    assert not [name for name in names if ".part-" in name or "lock" in name]
    for path in (folder / name for name in names):
        if path.name.endswith(".nii.gz"):
            read_image(path)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        else:
            assert path.read_bytes()
