"""A head that shows no mirror is reflected across its middle, with a remark; it stops nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.transforms import SkullStripd, SymmetricModalitiesd
from monai_isles.transforms.mirror import apply_mirror, reflection
from monai_isles.transforms.registration import middle_mm, mirror_or_midline

KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")


def half(head: np.ndarray) -> np.ndarray:
    """The head without what lies more than 10 mm right of the middle of the array."""
    out = head.copy()
    out[53:] = -1000
    return out


def disc(middle_px: float = 40.0) -> np.ndarray:
    x, y = np.meshgrid(np.arange(96) - middle_px, np.arange(96) - 47.5, indexing="ij")
    return np.repeat(np.where(np.hypot(x, y) < 35.2, 30.0, -1000.0)[..., None], 2, axis=2)


def test_the_middle_of_a_head_is_the_middle_of_its_rows() -> None:
    tissue = np.zeros((20, 8, 2))
    tissue[3:11, 2:6] = 1.0  # middle 6.5 of an array whose middle is 9.5
    tissue[18, 5, 1] = 1.0  # a speck in one row of eight
    assert middle_mm(tissue, (2.0, 1.0)) == pytest.approx(-6.0)


def test_a_head_that_matches_its_mirror_has_no_remark(egg) -> None:
    found = mirror_or_midline(egg(8, 5), (2.0, 2.0))
    assert found.method == "rigid" and found.remark == ""


def test_half_a_head_is_reflected_across_the_middle_of_what_is_there(egg) -> None:
    found = mirror_or_midline(half(egg()), (2.0, 2.0))
    assert found.method == "midline" and found.remark.startswith("E-REG-03: the head does not match its mirror image")
    assert "mirrored across the middle of the head, upright" in found.remark
    assert found.mirror.angle_deg == 0
    # the rows at the middle reach from -67 mm to 9 mm, those near front and back less far: the median lies between
    assert -29 <= found.mirror.offset_mm <= -20


def test_a_disc_without_an_axis_is_reflected_across_its_middle() -> None:
    found = mirror_or_midline(disc(40.0), (2.0, 2.0))  # 7.5 pixels left of the middle of the array
    assert found.method == "midline" and found.remark.startswith("E-REG-02")
    assert found.mirror.offset_mm == pytest.approx(-15.0)


@pytest.mark.parametrize("value", [-1000.0, 30.0], ids=["air", "tissue everywhere"])
def test_an_image_without_a_head_is_flipped_about_its_array(value: float) -> None:
    volume = np.full((32, 30, 2), value)
    volume[3, 4, 0] += 1
    found = mirror_or_midline(volume, (2.0, 2.0))
    assert found.method == "flip" and found.remark.startswith("E-REG-01") and "middle of the array" in found.remark
    np.testing.assert_array_equal(apply_mirror(volume, found.mirror, (2.0, 2.0)), volume[::-1].astype(np.float32))


def test_a_thin_slab_is_registered_in_plane(egg) -> None:
    head = np.where(egg(8, 5) > -500, egg(8, 5).clip(0, 60) + 40, 0)
    found = mirror_or_midline(head, (2.0, 2.0, 5.0), window=None)
    assert (
        found.method == "rigid" and found.remark.startswith("E-REG-22: the slab is too") and "in plane" in found.remark
    )
    assert found.mirror.angle_deg == pytest.approx(8, abs=0.3) and found.mirror.offset_mm == pytest.approx(5, abs=0.5)
    np.testing.assert_array_equal(found.mirror.matrix[2], [0, 0, 1])
    assert found.mirror.roll_deg == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "code"), [({"method": "elastix"}, "E-REG-04"), ({"head": np.zeros((8, 8, 2))}, "E-REG-05")]
)
def test_a_wrong_setting_and_no_volume_are_still_refused(egg, change: dict[str, object], code: str) -> None:
    with pytest.raises(IslesError, match=code):
        mirror_or_midline(**{"head": egg(), "spacing_mm": (2.0, 2.0), **change})


def test_the_transform_goes_on_with_a_remark_that_is_said_once(egg, case, caplog) -> None:
    entry = SkullStripd()(case(half(egg())))
    transform = SymmetricModalitiesd(KEYS)
    first, again = transform(entry), transform(entry)
    assert first["mirror"]["method"] == "midline" and first["mirror"]["remark"].startswith("E-REG-03")
    assert again["mirror"]["remark"] == first["mirror"]["remark"]
    assert sum("case_7: E-REG-03" in line for line in caplog.messages) == 1
    want = apply_mirror(entry["cbf"][0].numpy(), reflection(0, first["mirror"]["offset_mm"]), (2.0, 2.0))
    np.testing.assert_allclose(first["cbf_sym"][0].numpy(), want, atol=1e-4)
    assert torch.equal(first["cbf_sym"], again["cbf_sym"])
