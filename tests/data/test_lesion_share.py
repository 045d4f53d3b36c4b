"""The share of lesion is counted over every voxel of the masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data import measured_lesion_share
from monai_isles.errors import IslesError


def save(path: Path, mask: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(mask.astype(np.uint8), np.diag([2.0, 2.0, 6.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


@pytest.fixture
def entries(tmp_path: Path) -> Callable[..., list[dict]]:
    def write(*lesion_vox: int) -> list[dict]:
        listed = []
        for number, count in enumerate(lesion_vox):
            mask = np.zeros((10, 10, number + 1), bool)
            mask.reshape(-1)[:count] = True
            listed.append({"case": f"case_{number}", "label": str(save(tmp_path / f"{number}.nii.gz", mask))})
        return listed

    return write


def test_voxels_are_counted_over_all_masks_together(entries: Callable[..., list[dict]]) -> None:
    assert measured_lesion_share(entries(5, 25, 0)) == pytest.approx(30 / (100 + 200 + 300))


def test_a_mask_that_cannot_be_read_does_not_count(
    entries: Callable[..., list[dict]], caplog: pytest.LogCaptureFixture
) -> None:
    listed = entries(5, 25, 7)
    path = Path(listed[2]["label"])
    path.write_bytes(path.read_bytes()[:40])
    assert measured_lesion_share(listed) == pytest.approx(30 / (100 + 200))
    assert "a mask is not measured: E-FILE-" in caplog.text and str(path) in caplog.text


def test_masks_without_any_lesion_are_refused(entries: Callable[..., list[dict]]) -> None:
    with pytest.raises(IslesError, match="E-LBL-10: no lesion in the training masks(?s:.*)2 masks, 300 voxels"):
        measured_lesion_share(entries(0, 0))
