"""The tools that make the bad input of a case, run the command and hold it to the gates."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data import make_datalist
from monai_isles.io import publish_json, read_image
from tests.fixtures.shared import made_once
from tests.reliability import gates
from tests.reliability.children import ROOT, Forks, Shown

BUNDLE = ROOT / "bundles/clerigues"
FAST = ("--step", "64", "--mc-passes", "1", "--threads", "1", "--no-report")
TINY = ("--patches_per_case", "16", "--validation_step", "[32,32]")


TRAINS = {"halfway", "resumed", "uninterrupted"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what trains as long: ``make test`` leaves it to ``make reliability``."""
    for item in items:
        if TRAINS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Add to the report of a failed test what kind of failure it was: ``silent``, ``partial`` or ``fails``."""
    report = yield
    if report.failed and call.excinfo is not None:
        costs = [dict(value) for name, value in item.user_properties if name == "command"]
        ended_well = bool(costs) and costs[-1]["code"] == 0
        kinds = {gates.SilentlyWrong: "silent", gates.LeftInParts: "partial"}
        verdict = kinds.get(call.excinfo.type, "silent" if ended_well and report.when == "call" else "fails")
        report.user_properties.append(("verdict", verdict))
    return report


@pytest.fixture(autouse=True)
def _measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep what every command of a test cost."""
    if "server" not in request.fixturenames:
        yield
        return
    forks = request.getfixturevalue("server")

    def keep(shown: Shown) -> None:
        cost = {"code": shown.code, "seconds": shown.seconds, "peak_mib": shown.peak_mib}
        request.node.user_properties.append(("command", cost))

    forks.seen = keep
    yield
    forks.seen = lambda shown: None


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
def finished(
    phantom_folder: Path, untrained_weights: Path, server: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Predictions of two sound scans, case_1 and case_2, made with the settings of every test here."""
    cases = [phantom_folder / f"TRAINING/case_{number}" for number in (1, 2)]

    def make(folder: Path) -> None:
        gates.require_success(server.run("predict", *cases, *settings(untrained_weights), "--out", folder / "out"))

    return made_once(tmp_path_factory, "finished", make) / "out"


@pytest.fixture
def run(server: Forks) -> Callable[..., Shown]:
    """Run ``monai-isles`` in a child process."""
    return server.run


@pytest.fixture
def predict(server: Forks, finished: Path, untrained_weights: Path, tmp_path: Path) -> Callable[..., Shown]:
    """Predict into ``out``, which holds the finished case_2 from an earlier run."""
    shutil.copytree(finished / "case_2", tmp_path / "out/case_2")
    shutil.copy(finished / "run.json", tmp_path / "out/run.json")

    def command(
        *words: object, bundle: Path = BUNDLE, weights: Path = untrained_weights, out: Path = tmp_path / "out",
        **limits: object,
    ) -> Shown:  # fmt: skip
        return server.run("predict", *settings(weights, bundle), "--out", out, *words, **limits)

    return command


@pytest.fixture
def training(server: Forks, folder: Path, data_list: Path, tmp_path: Path) -> Callable[..., Shown]:
    """Train by ``python -m monai.bundle run`` on ``folder`` by ``data_list`` into ``run``."""

    def command(*more: object, epochs: int = 1, **limits: object) -> Shown:
        words = training_command(folder, data_list, tmp_path / "run", *more, epochs=epochs)
        return server.run(*words, program="monai.bundle", **limits)

    return command


@pytest.fixture(scope="session")
def halfway(phantom_folder: Path, server: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of four epochs that was killed after the second: ``run`` and its ``list.json``."""
    place = tmp_path_factory.mktemp("halfway")
    publish_json(place / "list.json", make_datalist(phantom_folder, folds=2))
    words = training_command(phantom_folder, place / "list.json", place / "run", epochs=4)
    child = server.start(*words, program="monai.bundle")
    child.wait_until((place / "run/checkpoint-0002.pt").exists)
    child.kill()
    assert child.wait().code == -9
    (place / "run/checkpoint-0003.pt").unlink(missing_ok=True)
    return place


@pytest.fixture
def resumed(halfway: Path, phantom_folder: Path, server: Forks, tmp_path: Path) -> Callable[..., Shown]:
    """Go on with a copy of the killed training in ``run``; the copy is there before the first call."""
    shutil.copytree(halfway / "run", tmp_path / "run")

    def command(*more: object, data_list: Path = halfway / "list.json", epochs: int = 4, **limits: object) -> Shown:
        words = training_command(phantom_folder, data_list, tmp_path / "run", *more, epochs=epochs)
        return server.run(*words, program="monai.bundle", **limits)

    return command


@pytest.fixture(scope="session")
def uninterrupted(halfway: Path, phantom_folder: Path, server: Forks) -> Path:
    """The same training without a kill."""
    words = training_command(phantom_folder, halfway / "list.json", halfway / "whole", epochs=4)
    gates.require_success(server.run(*words, program="monai.bundle"))
    return halfway / "whole"


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
        before = gates.digests(tmp_path)
        shown = command(*words, **options)
        gates.require_refusal(shown, exit_code=exit_code, code=code, says=says)
        new = gates.require_nothing_lost(tmp_path, before)
        assert new <= gates.RECORDS, new
        gates.require_nothing_partial(tmp_path, new)
        return shown

    return gate


@pytest.fixture
def works(tmp_path: Path) -> Callable[..., Shown]:
    """Run a command that must simply work: exit code 0, inputs untouched, every new file whole."""

    def gate(command: Callable[..., Shown], *words: object, says: Sequence[str] = (), **options: object) -> Shown:
        before = gates.digests(tmp_path)
        shown = command(*words, **options)
        gates.require_success(shown, says)
        gates.require_nothing_partial(tmp_path, gates.require_nothing_lost(tmp_path, before))
        return shown

    return gate


@pytest.fixture
def same_maps(finished: Path, tmp_path: Path) -> Callable[..., None]:
    """Require that the maps of a case are, in RAS+, those of the scan it was copied from."""

    def compare(case: str = "case_7", like: str = "case_1", out: Path = tmp_path / "out") -> None:
        for name in ("probability", "lesion"):
            ours, sound = (read_image(path / f"{name}.nii.gz") for path in (out / case, finished / like))
            np.testing.assert_allclose(ours.affine, sound.affine, atol=1e-3)
            np.testing.assert_allclose(ours.data, sound.data, atol=1e-5)

    return compare


def training_command(folder: Path, data_list: Path, out: Path, *more: object, epochs: int) -> tuple[str, ...]:
    """Return the words after ``python -m monai.bundle`` that train the CT bundle shortly."""
    where = ("--data_list", data_list, "--dataset_dir", folder, "--output_dir", out)
    config = ("run", "training", "--config_file", "bundles/clerigues/train.json")
    return tuple(str(word) for word in (*config, *where, *TINY, "--max_epochs", epochs, *more))


def settings(weights: Path, bundle: Path = BUNDLE) -> tuple[str, ...]:
    return ("--bundle", str(bundle), "--weights", str(weights), *FAST)
