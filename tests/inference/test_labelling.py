"""One image by its path becomes a bundle's modalities, and the lesion comes back on that image's own voxels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.inference import LabelForegroundd, LabelMaskd, LoadStudyd, StepSlidingWindowInferer
from monai_isles.transforms.perfusion_series import times_of

NAMES = ("ct", "cbf")
FLIPPED = np.array([[-2.0, 0, 0, 9], [0, 2.0, 0, -4], [0, 0, 5.0, 1], [0, 0, 0, 1]])  # stored right to left


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Two channels whose values name their place: channel, then index along the stored first axis."""
    values = np.zeros((6, 5, 4, 2), np.float32)
    values[..., 0] = np.arange(6)[:, None, None]
    values[..., 1] = 10 + np.arange(6)[:, None, None]
    nibabel.save(nibabel.Nifti1Image(values, FLIPPED), tmp_path / "scan_1.nii.gz")
    return tmp_path / "scan_1.nii.gz"


def test_the_channels_of_one_file_become_modalities(image: Path) -> None:
    out = LoadStudyd(NAMES)({"image": str(image), "device": "cpu"})
    assert out["case"] == "scan_1" and out["device"] == "cpu"
    assert [tuple(out[name].shape) for name in NAMES] == [(1, 6, 5, 4)] * 2
    assert out["ct"][0, :, 0, 0].tolist() == [5, 4, 3, 2, 1, 0]  # RAS+: the other way round
    assert out["cbf"][0, 0, 0, 0] == 15 and out["ct"].meta["filename_or_obj"] == str(image)
    np.testing.assert_allclose(out["ct"].meta["native_affine"], FLIPPED)


def test_the_mask_lies_on_the_stored_voxels_again(image: Path) -> None:
    out = LoadStudyd(NAMES)({"image": str(image)})
    lesion = (out["ct"] == 5).float()  # stored index 5, first in RAS+
    image_like = MetaTensor(torch.zeros(2, 70, 69, 4), meta=dict(out["ct"].meta))  # padded, as the network sees it
    made = LabelMaskd()({"lesion": lesion, "image": image_like})
    assert made["pred"].shape == (1, 6, 5, 4) and made["pred"].sum() == 20 and bool((made["pred"][0, 5] == 1).all())
    assert tuple(made["image"].meta["spatial_shape"]) == (6, 5, 4)
    np.testing.assert_allclose(made["image"].meta["original_affine"], FLIPPED)


def test_a_study_folder_is_read_by_the_names_of_its_files(phantom_folder: Path) -> None:
    case = phantom_folder / "TRAINING/case_1"
    out = LoadStudyd(("ct", "tmax"))({"image": str(case)})
    tmax = nibabel.as_closest_canonical(nibabel.load(next(case.glob("*.CT_Tmax.*/*.nii")))).get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(out["tmax"][0]), tmax)


def test_another_number_of_channels_is_refused_by_name(image: Path) -> None:
    with pytest.raises(IslesError, match=r"E-INF-45.*\n.*scan_1.*\n.*2 channels\n.*ct, cbf, tmax, in this order"):
        LoadStudyd((*NAMES, "tmax"))({"image": str(image)})


def test_the_inferer_finds_the_foreground_beside_the_image() -> None:
    """Windows lie on the one foreground voxel alone, so that the far corner is never predicted."""
    foreground = torch.zeros(1, 16, 16, 1)
    foreground[0, 4, 4, 0] = 1
    entry = {"image": MetaTensor(torch.zeros(1, 16, 16, 1)), "foreground": foreground, "head": 3}
    made = LabelForegroundd(["head"])(entry)
    assert set(made) == {"image", "foreground"} and "foreground" not in entry["image"].meta
    inferer = StepSlidingWindowInferer(roi_size=(4, 4), step=2)
    network = torch.nn.Conv2d(1, 2, 1)
    found, wanted = inferer(made["image"][None], network), inferer(entry["image"][None], network, foreground[None])
    assert torch.equal(found, wanted) and not torch.equal(found, inferer(entry["image"][None], network))


def test_a_folder_may_hold_more_than_is_asked(phantom_folder: Path) -> None:
    case = phantom_folder / "TRAINING/case_1"
    out = LoadStudyd(("ct",), optional=("dwi", "flair"))({"image": str(case)})
    assert "dwi" in out and "flair" not in out and out["dwi"].shape == out["ct"].shape


def test_a_series_in_a_study_folder_keeps_its_frame_times(tmp_path: Path) -> None:
    case = tmp_path / "study"
    case.mkdir()
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 2), 40, np.float32), FLIPPED), case / "ct.nii.gz")
    series = nibabel.Nifti1Image(np.full((8, 8, 2, 12), 40, np.float32), FLIPPED)
    series.header.set_zooms((2, 2, 5, 1.5))
    series.header.set_xyzt_units("mm", "sec")
    nibabel.save(series, case / "ctp.nii.gz")
    out = LoadStudyd(("ct", "ctp"))({"image": str(case)})
    np.testing.assert_allclose(times_of(out["ctp"]), 1.5 * np.arange(12))
