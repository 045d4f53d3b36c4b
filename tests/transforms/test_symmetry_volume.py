"""Symmetric modalities in three dimensions: one map for all images, registered once, kept beside the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from monai_isles.transforms import SymmetricModalitiesd
from monai_isles.transforms.mirror import Grid, Mirror, apply_mirror, axis_of

KEYS = ("flair", "t1")
SPACING = (4.0, 4.0, 4.0)


def egg(angle_deg: float = 9.0, roll_deg: float = -6.0, offset_mm: float = 5.0) -> np.ndarray:
    """A brain that is its own mirror image across one plane: unequal axes, two ventricles, a dark base."""
    shape = (48, 56, 46)
    points = Grid.centred(shape, SPACING).points()
    normal = axis_of((angle_deg, roll_deg))
    across = points @ normal - offset_mm
    front = np.cross([0.0, 0.0, 1.0], normal) / np.hypot(*normal[:2])
    along, up = points @ front, points @ np.cross(normal, front)
    rim = np.sqrt((across / 62) ** 2 + (along / 80) ** 2 + (up / 70) ** 2 + 0.2 * along * up / 5600)
    values = np.where(rim < 1, 100 + 0.4 * up + 0.2 * along, 0)
    values[((np.abs(across) - 15) / 9) ** 2 + ((along - 12) / 30) ** 2 + ((up - 10) / 18) ** 2 < 1] = 20
    return values.reshape(shape).astype(np.float32)


def entry(flair: np.ndarray) -> dict[str, object]:
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    images = {"flair": flair, "t1": (flair > 0) * (150 - flair)}
    made = {
        k: MetaTensor(torch.from_numpy(v.astype(np.float32))[None], affine=affine.clone()) for k, v in images.items()
    }
    return {"case": "case_7", **made}


def transform(**changes: object) -> SymmetricModalitiesd:
    settings = {"head": "flair", "ct": None, "maps": (), "window": None, "dimensions": 3} | changes
    return SymmetricModalitiesd(KEYS, **settings)


def test_every_modality_gains_its_mirror_image_by_one_map() -> None:
    out = transform()(entry(egg()))
    record = out["mirror"]
    assert record["angle_deg"] == pytest.approx(9, abs=0.5) and record["roll_deg"] == pytest.approx(-6, abs=0.5)
    assert record["offset_mm"] == pytest.approx(5, abs=0.5) and record["method"] == "rigid"
    mirror = Mirror(np.array(record["matrix"]), np.array(record["shift_mm"]))
    for key in KEYS:
        twin = out[f"{key}_sym"]
        assert isinstance(twin, MetaTensor) and twin.dtype == torch.float32 and twin.shape == out[key].shape
        assert torch.equal(twin.affine, out[key].affine)
        np.testing.assert_allclose(twin[0].numpy(), apply_mirror(out[key][0].numpy(), mirror, SPACING), atol=1e-4)


def test_a_symmetric_brain_sees_itself() -> None:
    out = transform()(entry(egg()))
    inner = apply_mirror((egg() > 0).astype(np.float32), Mirror(np.eye(3), np.zeros(3)), SPACING) > 0
    difference = (out["flair_sym"] - out["flair"])[0].numpy()[inner]
    assert np.median(np.abs(difference)) < 2


def test_a_lesion_shows_up_on_the_other_side() -> None:
    data = entry(egg(0, 0, 0))
    data["t1"][0, 36, 30, 25] = 5000.0
    twin = transform()(data)["t1_sym"][0]
    spot = np.unravel_index(int(twin.argmax()), twin.shape)
    assert np.abs(np.array(spot) - (11, 30, 25)).max() <= 1


def test_records_can_be_collated() -> None:
    record = transform()(entry(egg()))["mirror"]
    assert list_data_collate([{"mirror": record}] * 2)["mirror"]["roll_deg"].shape == (2,)
