from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data.scans import read_perfusion_series
from monai_isles.errors import IslesError


def write(path: Path, *, frames: int | None = 12, dt_s: float = 1.4, unit: str = "sec") -> Path:
    shape = (7, 6, 2) if frames is None else (7, 6, 2, frames)
    data = np.random.default_rng(0).integers(0, 90, shape).astype(np.int16)
    image = nibabel.Nifti1Image(data, np.diag([-0.9, 0.9, 5.0, 1.0]))
    if frames is not None:
        image.header.set_xyzt_units("mm", unit)
        image.header["pixdim"][4] = dt_s
    image.to_filename(path)
    return path


def test_frames_come_first_in_ras_with_their_times(tmp_path: Path) -> None:
    series = read_perfusion_series(write(tmp_path / "s.nii.gz"))
    assert series.array.shape == (12, 7, 6, 2)
    assert series.times_from == "pixdim[4]"
    assert np.allclose(series.times_s, np.arange(12) * 1.4) and series.like.spacing_mm == pytest.approx((0.9, 0.9, 5.0))
    stored = np.asarray(nibabel.load(tmp_path / "s.nii.gz").dataobj)
    assert np.array_equal(series.array[3], stored[::-1, :, :, 3]) and np.array_equal(series.like.data, series.array[0])


def test_milliseconds_are_seconds_and_a_given_step_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "s.nii", dt_s=1400.0, unit="msec")
    assert read_perfusion_series(path).times_s[1] == pytest.approx(1.4)
    assert read_perfusion_series(path, dt_s=2.0).times_s[1] == 2.0


def test_a_single_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-09: one volume is not a perfusion series(?s:.*)7 x 6 x 2"):
        read_perfusion_series(write(tmp_path / "s.nii.gz", frames=None))


@pytest.mark.parametrize("dt_s", [0.0, -1.0, 1400.0])
def test_an_impossible_step_is_refused(tmp_path: Path, dt_s: float) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-10: frames cannot be that far apart(?s:.*)--dt(?s:.*)at most 20"):
        read_perfusion_series(write(tmp_path / "s.nii.gz"), dt_s=dt_s)
