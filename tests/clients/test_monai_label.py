"""MONAI Label's own monaibundle app segments with every network bundle, as predict does, and trains it."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.bundle import Bundle
from monai_isles.bundle.bundle import lay_over
from monai_isles.data import find_inputs
from monai_isles.errors import IslesError
from monai_isles.export.bundle import export_bundle
from monai_isles.io import load_state, publish_json
from monai_isles.io.weights import publish_state
from monai_isles.workflows.api import segment
from tests.fixtures.training import TINY

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parent.name for path in (ROOT / "bundles").glob("*/label.json"))
COARSE = {"clerigues": {"step": [64, 64], "mc_passes": 1, "min_size_vox": 0}, "clerigues_mri": {"step": [24, 24, 16]}}
FEW_EPOCHS = {"val_split": 0.34, "max_epochs": 1, "device": "cpu", "multi_gpu": False, "pretrained": True}
BY_SERIES = ("fusion", "wang")  # the raw series is no channel of one image
pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI Label's own


def cases_of(name: str, scans: dict[str, Path]) -> list[Path]:
    folder = scans["mr" if name == "clerigues_mri" else "ct"]
    studies = [path for path in sorted(folder.rglob("*")) if path.is_dir() and re.fullmatch(r"(case_)?\d+", path.name)]
    return [path for path in studies if find_inputs([path])[0].label]


def small_bundle(name: str, place: Path) -> Path:
    """Copy a bundle with the smallest network that makes every step, its weights from a fixed seed."""
    copy = Path(shutil.copytree(ROOT / "bundles" / name, place / name))
    for of_shipped_weights in (copy / "models/calibration.json", *copy.glob("shipped*.json")):
        of_shipped_weights.unlink(missing_ok=True)
    for file in ("train.json", "inference.json"):
        laid = lay_over(json.loads((copy / file).read_text()), [TINY[name], COARSE.get(name, {})])
        publish_json(copy / file, laid | ({"calibration": None} if "calibration" in laid else {}))
    metadata = json.loads((copy / "metadata.json").read_text())
    publish_json(copy / "metadata.json", {key: value for key, value in metadata.items() if key != "weights_sha256"})
    torch.manual_seed(0)
    network = Bundle(copy).config("inference").get_parsed_content("network_def")
    publish_state(copy / "models/model.pt", network.state_dict())
    return copy


def one_image(case: Path, names: list[str], path: Path) -> Path:
    """Stack the modalities of a study as the channels of one file."""
    found = find_inputs([case], keys=names)[0]
    images = [nibabel.load(found.images[name]) for name in names]
    stacked = np.stack([image.get_fdata(dtype=np.float32) for image in images], -1)
    nibabel.save(nibabel.Nifti1Image(stacked, images[0].affine), path)
    return path


@pytest.fixture
def app(tmp_path: Path, client: Callable[..., str]) -> Callable[..., Any]:
    """Return ``start(name, studies)``: the app object of MONAI Label's monaibundle with one bundle of ours."""
    client("monailabel")

    def start(name: str, studies: Path) -> Any:
        studies.mkdir(exist_ok=True)
        home = Path(sys.prefix) / "monailabel/sample-apps/monaibundle"
        place = Path(shutil.copytree(home, tmp_path / "app"))
        exported = export_bundle(
            small_bundle(name, tmp_path / "source"), tmp_path / "out", graphs=False, overlays=["label.json"]
        )
        shutil.copytree(exported.folder, place / "model" / name)
        spec = importlib.util.spec_from_file_location("label_app", place / "main.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        conf = {"models": name, "zoo_source": "local", "sam2": "false", "preload": "false"}
        return module.MyApp(str(place), str(studies), conf)

    return start


@pytest.fixture
def plain_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what a training sets for the whole process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.long
@pytest.mark.parametrize("name", BUNDLES)
def test_infer_gives_the_mask_of_predict_and_writes_nothing_else(
    name: str, app: Callable[..., Any], tiny_scans: dict[str, Path], tmp_path: Path, client: Callable[..., str],
    record: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    case, made = cases_of(name, tiny_scans)[0], app(name, tmp_path / "studies")
    bundle = Bundle(tmp_path / "source" / name)
    wanted = segment(case, bundle)
    ask = {"model": name, "device": "cpu", "result_extension": ".nii.gz"}
    found = nibabel.load(made.infer(ask | {"image": str(case)})["file"])
    np.testing.assert_array_equal(found.get_fdata(), wanted.array("lesion"))
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)
    what = "a study folder"
    if name not in BY_SERIES:
        path = one_image(case, list(bundle.config("inference")["modalities"]), tmp_path / "one.nii.gz")
        again = nibabel.load(made.infer(ask | {"image": str(path)})["file"])
        np.testing.assert_array_equal(again.get_fdata(), found.get_fdata())
        what += " and one multi-channel image"
    assert not (tmp_path / "eval").exists()
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(IslesError, match=r"E-FILE.*\n.*broken\.nii\.gz"):
        made.infer(ask | {"image": str(tmp_path / "broken.nii.gz")})
    record("monailabel", client("monailabel"), f"infer task of bundles/{name}: {what}", "mask equal to predict's")


class Folders:
    """A store of study folders, as MONAI Label's own stores of servers give them: its store of files holds files."""

    def __init__(self, pairs: list[dict[str, str]]) -> None:
        self.pairs = pairs

    def datalist(self) -> list[dict[str, str]]:
        return self.pairs


@pytest.mark.long
@pytest.mark.parametrize("name", BUNDLES)
def test_train_learns_from_the_masks_that_readers_saved(
    name: str, app: Callable[..., Any], tiny_scans: dict[str, Path], tmp_path: Path, client: Callable[..., str],
    record: Callable[..., None], monkeypatch: pytest.MonkeyPatch, plain_signals: None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    studies, cases = tmp_path / "studies", cases_of(name, tiny_scans)
    (studies / "labels/final").mkdir(parents=True)
    names = list(Bundle(ROOT / "bundles" / name).config("inference")["modalities"])
    pairs = []
    for case in cases:
        label = find_inputs([case])[0].label
        pairs.append({"image": str(case), "label": str(label)})
        if name not in BY_SERIES:
            one_image(case, names, studies / f"{case.name}.nii.gz")
            nibabel.save(nibabel.load(label), studies / f"labels/final/{case.name}.nii.gz")
    made = app(name, studies)
    model = tmp_path / "app/model" / name / "models"
    before = load_state(model / "model.pt")
    for _ in range(2):  # a second training begins with the weights of the first
        if name in BY_SERIES:
            made._trainers[name]({"model": name} | FEW_EPOCHS, Folders(pairs))
        else:
            made.train({"model": name} | FEW_EPOCHS)
    after = load_state(model / "model.pt")
    assert after.keys() == before.keys()
    assert any(not torch.equal(after[key], before[key]) for key in after if after[key].is_floating_point())
    (row,) = csv.DictReader((model / "curves.csv").read_text().splitlines())
    assert float(row["train_loss"]) > 0 and 0 <= float(row["val_dsc"]) <= 1
    assert json.loads((model / "run.json").read_text())["left_out"] == {}
    stored = "study folders" if name in BY_SERIES else "its store of files"
    record("monailabel", client("monailabel"), f"train task of bundles/{name}, one epoch, twice, from {stored}",
           "new weights, curves of loss and Dice")  # fmt: skip
