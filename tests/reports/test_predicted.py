"""The page of a case just predicted: whatever was read, with and without uncertainty."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.reports.page import publish_case_page
from monai_isles.reports.views import CaseView

SHAPE = (20, 24, 3)
SISS, SPES = ("flair", "t1", "t2", "dwi"), ("dwi", "cbf", "cbv", "t1c", "t2", "tmax", "ttp")


def entry_of(folder: Path, keys: tuple[str, ...]) -> dict[str, object]:
    random, entry = np.random.default_rng(0), {"case": "case_1", "subject": "s1"}
    for key in keys:
        path = folder / "case_1" / f"{key}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.zeros(SHAPE, np.float32)
        values[4:-4, 4:-4] = random.uniform(5, 30, (12, 16, 3))
        nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), path)
        entry[key] = str(path)
    return entry


def maps_of(*more: str) -> dict[str, torch.Tensor]:
    probability = torch.zeros(1, *SHAPE)
    probability[0, 8:12, 8:12, 1] = 0.9
    return {
        "probability": probability,
        "lesion": (probability > 0.5).to(torch.uint8),
        **dict.fromkeys(more, probability),
    }


def words_of(tmp_path: Path, keys: tuple[str, ...], *more: str) -> str:
    entry = entry_of(tmp_path, keys)
    result = {"bundle": "b", "modalities": {key: entry[key] for key in keys}}
    maps, grid = maps_of(*more), np.diag([2.0, 2.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(maps["lesion"][0].numpy(), grid), tmp_path / "lesion.nii.gz")
    publish_case_page(entry, maps, result, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("keys", [SISS, SPES, ("dwi", "adc")], ids=["siss", "spes", "dwi-adc"])
def test_a_page_of_mri_needs_no_ct_and_no_uncertainty(tmp_path: Path, keys: tuple[str, ...]) -> None:
    page = words_of(tmp_path, keys)
    assert "No uncertainty map" in page and ", ".join(keys) in page and "Predicted lesion" in page
    assert str(tmp_path) not in page and "Simulated" not in page
    assert "0.1 ml" in page  # 16 voxels of 8 mm3


def test_a_pseudo_dwi_among_the_maps_is_shown_as_synthetic(tmp_path: Path) -> None:
    page = words_of(tmp_path, ("cbf", "cbv", "mtt", "tmax"), "uncertainty", "pseudo_dwi")
    assert "Synthetic pseudo-DWI" in page and "No uncertainty map" not in page


def test_maps_that_the_page_does_not_know_are_left_alone(tmp_path: Path) -> None:
    assert "Synthetic" not in words_of(tmp_path, SISS, "features")


def test_the_mark_of_simulated_data_is_found_beside_any_image(tmp_path: Path) -> None:
    (tmp_path / "SIMULATED.txt").write_text("simulated")
    assert "Simulated data" in words_of(tmp_path, SISS)


@pytest.mark.parametrize(("resample", "broken"), [(False, False), (True, False), (False, True)])
def test_an_image_that_the_bundle_did_not_read_may_be_broken_or_lie_on_another_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resample: bool, broken: bool
) -> None:
    """ISLES'22: FLAIR beside DWI and ADC; moved to the grid of the prediction if that was asked for."""
    views: list[CaseView] = []
    words_of(tmp_path, keys := ("flair", "dwi", "adc"))
    entry = entry_of(tmp_path, keys) | {"resample": resample}
    fine = np.ones((40, 48, 3), np.float32)
    nibabel.save(nibabel.Nifti1Image(fine, np.diag([1.0, 1.0, 2.0, 1.0])), entry["flair"])
    if broken:
        Path(str(entry["flair"])).write_bytes(b"no image")
    monkeypatch.setattr("monai_isles.reports.page.case_page", lambda view, _: views.append(view))
    publish_case_page(entry, maps_of(), {"modalities": ["dwi", "adc"]}, tmp_path / "report.html")
    assert set(views[0].images) == ({*keys} if resample else {"dwi", "adc"})
    assert {image.shape for image in views[0].images.values()} == {SHAPE}
