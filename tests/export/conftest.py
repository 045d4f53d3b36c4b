"""A copy of the CT bundle with random weights, exported once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_isles.export import Exported, export_bundle
from monai_isles.io import publish_state
from monai_isles.networks import AsymmetricResUNet

SOURCE = Path(__file__).parents[2] / "bundles" / "clerigues"


def make_bundle(folder: Path, *, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for path in SOURCE.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    (folder / "README.md").write_text("# A model card\n", encoding="utf-8")
    publish_state(folder / "models" / "model.pt", random_network(seed).state_dict())
    content = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    for measured in ("weights_sha256", "eval_metrics"):
        content.pop(measured, None)
    (folder / "metadata.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def random_network(seed: int) -> AsymmetricResUNet:
    torch.manual_seed(seed)
    return AsymmetricResUNet(2, 10, 2, base_channels=8, levels=5).eval()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "source" / "clerigues")


@pytest.fixture
def other_weights(tmp_path: Path) -> Path:
    publish_state(tmp_path / "other.pt", random_network(1).state_dict())
    return tmp_path / "other.pt"


@pytest.fixture
def edit() -> Callable[..., None]:
    def change(path: Path, **values: object) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**content, **values}), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def network() -> AsymmetricResUNet:
    return random_network(0)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    place = tmp_path_factory.mktemp("export")
    return export_bundle(make_bundle(place / "source" / "clerigues"), place / "out")


def make_ct_series(folder: Path, values: np.ndarray, *, name: str = "ZZPLANTED^NAME", turn_deg: float = 12.0) -> list:
    """Write slices (D, rows, columns) as one oblique classic CT series; return the files."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    turn, common = np.deg2rad(turn_deg), {}
    row, column = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
    for key in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        common[key] = generate_uid(entropy_srcs=[key])
    files = []
    for k, picture in enumerate(values.astype(np.int16)):
        meta, ds = FileMetaDataset(), Dataset()
        meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=["image", str(k)])
        meta.TransferSyntaxUID, ds.file_meta = ExplicitVRLittleEndian, meta
        for key, value in common.items():
            setattr(ds, key, value)
        ds.PatientName, ds.PatientID, ds.Modality, ds.SeriesNumber, ds.InstanceNumber = name, "PID-77", "CT", 3, k + 1
        ds.ImagePositionPatient = [round(x, 6) for x in (-10.0, -8.0, 30.0 + 5.0 * k)]
        ds.ImageOrientationPatient = [round(float(x), 8) for x in (*row, *column)]
        ds.PixelSpacing, ds.SliceThickness, (ds.Rows, ds.Columns) = [0.9, 1.1], 5.0, picture.shape
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 16, 16, 15, 1, 1
        ds.PhotometricInterpretation, ds.RescaleSlope, ds.RescaleIntercept = "MONOCHROME2", 1, 0
        ds.PixelData = picture.tobytes()
        files.append(folder / f"{k}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return files


def ras_affine(shape: tuple[int, int, int], *, turn_deg: float = 12.0) -> np.ndarray:
    """Return the RAS+ affine of ``slices.transpose(2, 1, 0)[::-1, ::-1]`` of ``make_ct_series``."""
    turn, lps = np.deg2rad(turn_deg), np.eye(4)
    lps[:3, 0] = np.array([np.cos(turn), np.sin(turn), 0]) * 1.1
    lps[:3, 1] = np.array([-np.sin(turn), np.cos(turn), 0]) * 0.9
    lps[:3, 2], lps[:3, 3] = (0, 0, 5.0), (-10.0, -8.0, 30.0)
    flip = np.array([[-1, 0, 0, shape[0] - 1], [0, -1, 0, shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return np.diag([-1, -1, 1, 1.0]) @ lps @ flip


@pytest.fixture
def ct_series(tmp_path: Path) -> tuple[np.ndarray, object]:
    """Return the slices (D, rows, columns) of a CT series on disk, and the source that names it."""
    pytest.importorskip("highdicom")
    from monai_isles.dicom.source import DicomSource

    values = np.random.default_rng(0).integers(-100, 100, (3, 16, 20))
    files = make_ct_series(tmp_path / "series", values)
    return values, DicomSource(files, ras_affine((20, 16, 3)))
