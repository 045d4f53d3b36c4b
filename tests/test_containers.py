"""The entry point of the containers picks the verb by what lies in its input, and the recipes name files that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monai_isles.cli.main import main

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "containers"


@pytest.fixture
def words(tmp_path: Path):
    """Run the entry point with a ``monai-isles`` that writes its words down; return them."""
    command = tmp_path / "bin/monai-isles"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$ISLES_WORDS"\n')
    command.chmod(0o755)

    def run(source: Path, *more: str, **environment: str) -> list[str]:
        said, out = tmp_path / "words.txt", tmp_path / "out"
        path = f"{command.parent}:{os.environ['PATH']}"
        env = {
            "PATH": path,
            "ISLES_WORDS": str(said),
            "ISLES_INPUT": str(source),
            "ISLES_OUTPUT": str(out),
            **environment,
        }
        subprocess.run([PLACE / "entrypoint.sh", *more], env=env | environment, check=True, timeout=30)
        return said.read_text().splitlines()

    return run


def test_a_folder_of_nifti_is_predicted_case_by_case(phantom_folder: Path, words, tmp_path: Path, capsys) -> None:
    found = words(phantom_folder, "--dry-run", "--json", ISLES_BUNDLE=str(ROOT / "bundles/threshold"))
    assert found[:2] == ["predict", str(phantom_folder)] and found[-4:-2] == ["--out", str(tmp_path / "out")]
    assert main(found) == 0 and len(json.loads(capsys.readouterr().out)["cases"]) == 3


def test_a_folder_without_nifti_is_read_as_dicom(tmp_path: Path, words) -> None:
    study = tmp_path / "in/study"
    study.mkdir(parents=True)
    (study / "IM0001").write_bytes(bytes(200))
    found = words(tmp_path / "in", "--fast")
    bundle = ["--bundle", "clerigues", "--out", str(tmp_path / "out"), "--fast"]
    assert found == ["predict-series", str(tmp_path / "in"), *bundle]


def test_the_recipes_copy_files_that_exist_and_that_docker_is_let_have() -> None:
    docker, apptainer = (PLACE / name for name in ("Dockerfile", "apptainer.def"))
    copied = {word for line in re.findall(r"^COPY (.*)$", docker.read_text(), re.M) for word in line.split()[:-1]}
    files = re.search(r"%files\n((?: +.*\n)+)", apptainer.read_text())
    assert files is not None
    assert copied == {word for line in files[1].splitlines() for word in line.split()[:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed and not [name for name in copied if not (ROOT / name).exists()]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", PLACE / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
