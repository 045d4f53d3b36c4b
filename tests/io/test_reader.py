"""MONAI's LoadImaged reads through us, and errors are not swallowed by its other readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImaged

from monai_isles.errors import IslesError
from monai_isles.io import LoadVerifiedd, VerifiedReader

Write = Callable[..., Path]
AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])


def load(path: Path | list[Path], **how: object) -> object:
    reader = VerifiedReader(**how)
    return LoadImaged("ct", reader=reader, ensure_channel_first=True, image_only=True)({"ct": path})["ct"]


def test_a_volume_comes_channel_first_with_its_meta_data(write: Write, volume: np.ndarray) -> None:
    image = load(write(volume))
    assert image.shape == (1, 4, 3, 2) and np.array_equal(image[0].numpy(), volume[::-1, ::-1])
    assert image.affine[0, 3] == 7 and image.meta["native_affine"][0, 3] == 10
    assert image.meta["filename_or_obj"].endswith("a.nii") and len(image.meta["sha256"]) == 64


def test_the_frames_of_a_series_are_its_channels(write: Write) -> None:
    series = np.arange(1.0, 145.0, dtype=np.float32).reshape(4, 3, 2, 6)
    image = load(write(series, affine=AFFINE))
    assert image.shape == (6, 4, 3, 2) and np.array_equal(image[3].numpy(), series[..., 3])


def test_monai_does_not_try_another_reader_on_a_damaged_file(write: Write, volume: np.ndarray) -> None:
    with pytest.raises(IslesError, match="E-GEOM-01"):
        load(write(volume, codes=(0, 0)))


def test_a_mask_reader_judges_masks(write: Write, volume: np.ndarray) -> None:
    with pytest.raises(IslesError, match="E-LBL-01"):
        load(write(volume), kind="label")


def test_several_files_are_not_one_image(write: Write, volume: np.ndarray) -> None:
    with pytest.raises(IslesError, match=r"E-DIM-08(?s:.*)2 files"):
        load([write(volume), write(volume, "b.nii")])


def test_only_nifti_names_are_ours() -> None:
    assert VerifiedReader().verify_suffix(["a.nii", "b.nii.gz"]) and not VerifiedReader().verify_suffix("a.mha")


def test_each_key_is_judged_as_its_modality_and_the_case_is_named(write: Write, volume: np.ndarray) -> None:
    good = {"ct": write(volume), "label": write((volume > 3).astype(np.uint8), "l.nii"), "case": "case_7"}
    out = LoadVerifiedd(["ct", "label"])(good)
    assert (
        out["ct"].shape == out["label"].shape == (1, 4, 3, 2)
        and out["case"] == "case_7"
        and good["ct"] == write(volume)
    )
    with pytest.raises(IslesError, match=r"E-LBL-01(?s:.*)case_7"):
        LoadVerifiedd("label")({"label": write(volume), "case": "case_7"})


def test_the_entry_says_which_labels_are_lesion(write: Write) -> None:
    mask = (np.arange(24).reshape(4, 3, 2) % 3).astype(np.uint8)
    path = write(mask, "l.nii")
    label = LoadVerifiedd("label")({"label": path, "label_values": [2]})["label"]
    assert np.array_equal(np.flip(label[0].numpy(), (0, 1)), mask == 2)
    assert np.array_equal(np.flip(load(path, kind="label", label_values=[1, 2])[0].numpy(), (0, 1)), mask > 0)
    with pytest.raises(IslesError, match="E-LBL-01"):
        LoadVerifiedd("label")({"label": path})


def test_missing_keys_are_allowed_on_request(write: Write, volume: np.ndarray) -> None:
    assert set(LoadVerifiedd(["ct", "label"], allow_missing_keys=True)({"ct": write(volume)})) == {"ct"}
