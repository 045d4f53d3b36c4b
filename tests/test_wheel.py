"""The wheel holds everything that an installed package needs: types, texts, templates, bundles and their weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("monai_isles", "bundles", "setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the source tree, without a network; return the folder that it unpacks to."""
    pytest.importorskip("setuptools", "77")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    (tree / "tests").mkdir()
    shutil.copy(Path(__file__), tree / "tests")
    build = "import sys; import setuptools.build_meta as b; to = sys.argv[1]; b.build_wheel(to); b.build_sdist(to)"
    done = subprocess.run([sys.executable, "-c", build, out], cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        wheel.extractall(out / "site")
    return out / "site"


def test_every_file_of_the_package_and_of_the_bundles_is_in_it(site: Path) -> None:
    for source, installed in (("monai_isles", "monai_isles"), ("bundles", "monai_isles_bundles")):
        files = {p.relative_to(ROOT / source) for p in (ROOT / source).rglob("*") if p.is_file()}
        wanted = {str(path) for path in files if "__pycache__" not in path.parts}
        assert wanted == {str(p.relative_to(site / installed)) for p in (site / installed).rglob("*") if p.is_file()}
    weights = site / "monai_isles_bundles/clerigues/models/model.pt"
    assert (
        weights.stat().st_size < 25e6
        and weights.read_bytes() == (ROOT / "bundles/clerigues/models/model.pt").read_bytes()
    )


def test_the_source_distribution_holds_the_package_and_its_bundles_and_no_tests(site: Path) -> None:
    with tarfile.open(next(site.parent.glob("*.tar.gz"))) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"monai_isles/faults.toml", "bundles/clerigues/models/model.pt", "setup.py", "LICENSE"} <= names
    assert [name for name in names if name.startswith("tests")] == []


def test_an_installed_package_opens_a_bundle_by_its_name(site: Path, tmp_path: Path) -> None:
    script = (
        "import json, monai_isles; from monai_isles.bundle.bundle import Bundle, known_bundles; "
        "from monai_isles.io.payload import sha256_of; one = Bundle.open('clerigues'); "
        "print(json.dumps([monai_isles.__file__, str(one.root), sha256_of(one.weights), sorted(known_bundles())]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    package, root, sha256, names = json.loads(done.stdout)
    assert Path(package).parents[1] == site and Path(root) == site / "monai_isles_bundles/clerigues"
    assert sha256 == json.loads((ROOT / "bundles/clerigues/metadata.json").read_text())["weights_sha256"]
    assert names == sorted(path.parent.name for path in (ROOT / "bundles").glob("*/inference.json"))


TRY = """
import json
from pathlib import Path
from monai_isles import evaluate, load_bundle, measure_perfusion, segment
case = Path("data/TRAINING/case_1")
result = segment(case, bundle="clerigues", step=16)
label, series = (next(path.parent for path in case.rglob(name)) for name in ("*.OT.*.nii", "*.CT_4DPWI.*.nii"))
label, series = next(label.glob("*.nii")), next(series.glob("*.nii"))
saved = result.save("saved")
dice = evaluate(saved / "lesion.nii.gz", label)["methods"]["network"]["metrics"]["dsc"]["mean"]
tmax = measure_perfusion(series).array("tmax")
print(json.dumps([result.lesion_ml, dice, float(tmax.max()), str(load_bundle("clerigues").root)]))
"""


@pytest.mark.long
def test_a_new_user_needs_pip_alone(tmp_path: Path) -> None:
    """``WHEEL_PYTHON`` is the Python of an environment in which pip has installed the wheel and nothing else."""
    python = os.environ.get("WHEEL_PYTHON")
    if not python:
        pytest.skip("WHEEL_PYTHON names no environment with the wheel")
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    command = str(Path(python).with_name("monai-isles"))
    run(command, "phantom", "--out", "data", "--cases", "1", "--max-slices", "2", "--seed", "7")
    (case,) = (tmp_path / "data/TRAINING").iterdir()
    here = ("predict", str(case), "--step", "16", "--mc-passes", "1", "--out")
    assert "weights  shipped" in run(command, "bundles")
    run(command, *here, "named", "--bundle", "clerigues")
    run(command, "export", "clerigues", "--out", "shared", "--no-graphs")
    run(command, *here, "zipped", "--bundle", "shared/clerigues.zip")
    named, zipped = (tmp_path / name / "case_1/lesion.nii.gz" for name in ("named", "zipped"))
    assert named.read_bytes() == zipped.read_bytes() and (named.parent / "report.html").is_file()
    lesion_ml, dice, latest_s, root = json.loads(run(python, "-c", TRY).splitlines()[-1])
    assert lesion_ml > 0 and 0 < dice <= 1 and 4 < latest_s <= 25
    assert not Path(root).is_relative_to(ROOT) and "site-packages" in root
