"""MONAI Label's own monaibundle app segments with a bundle, as predict does."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.bundle import Bundle
from monai_isles.data import find_inputs
from monai_isles.errors import IslesError
from monai_isles.export import export_bundle
from monai_isles.io import publish_json, publish_state
from monai_isles.workflows.api import segment

ROOT = Path(__file__).parents[2]
SMALL: dict[str, dict[str, Any]] = {"unet": {"widths": [2, 4, 8, 8, 8]}}
pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI Label's own


def case_of(name: str, scans: dict[str, Path]) -> Path:
    folder = scans["mr" if name == "clerigues_mri" else "ct"]
    return next(path for path in sorted(folder.rglob("*")) if path.is_dir() and path.name in ("case_1", "1"))


def small_bundle(name: str, place: Path) -> Path:
    """Copy a bundle with the smallest network that makes every step, its weights from a fixed seed."""
    copy = Path(shutil.copytree(ROOT / "bundles" / name, place / name))
    for file in ("train.json", "inference.json"):
        content = json.loads((copy / file).read_text())
        publish_json(copy / file, content | {key: value for key, value in SMALL[name].items() if key in content})
    if name != "clerigues":
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


@pytest.mark.parametrize("name", sorted(SMALL))
def test_infer_gives_the_mask_of_predict_and_writes_nothing_else(
    name: str, app: Callable[..., Any], tiny_scans: dict[str, Path], tmp_path: Path, client: Callable[..., str],
    record: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)
    case, made = case_of(name, tiny_scans), app(name, tmp_path / "studies")
    bundle = Bundle(tmp_path / "source" / name)
    wanted = segment(case, bundle, step=SMALL[name].get("step"))
    ask = {"model": name, "device": "cpu", "result_extension": ".nii.gz"}
    found = nibabel.load(made.infer(ask | {"image": str(case)})["file"])
    path = one_image(case, list(bundle.config("inference")["modalities"]), tmp_path / "one.nii.gz")
    again = nibabel.load(made.infer(ask | {"image": str(path)})["file"])
    np.testing.assert_array_equal(again.get_fdata(), found.get_fdata())
    np.testing.assert_array_equal(found.get_fdata(), wanted.array("lesion"))
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)
    assert not (tmp_path / "eval").exists()
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(IslesError, match=r"E-FILE.*\n.*broken\.nii\.gz"):
        made.infer(ask | {"image": str(tmp_path / "broken.nii.gz")})
    record(
        "monailabel",
        client("monailabel"),
        f"infer task of bundles/{name}: a study folder and one multi-channel image",
        "mask equal to predict's",
    )
