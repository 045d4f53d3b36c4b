from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from monai_isles.bundle.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.transforms import (
    HealthyScaled,
    SkullStripd,
    SourceGridd,
    SymmetricModalitiesd,
    UprightHeadd,
)
from monai_isles.transforms.mirror import apply_mirror, reflection

BUNDLES = Path(__file__).parents[2] / "bundles"
KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")


@pytest.mark.parametrize("slices", [1, 2, 22])
def test_every_modality_gains_its_mirror_image(egg, case, slices: int) -> None:
    entry = SkullStripd()(case(egg(8, 5, slices=slices)))
    out = SymmetricModalitiesd(KEYS)(entry)
    for key in KEYS:
        twin = out[f"{key}_sym"]
        assert isinstance(twin, MetaTensor) and torch.equal(twin.affine, entry[key].affine)
        assert twin.shape == entry[key].shape and twin.dtype == torch.float32
        assert torch.equal(out[key], entry[key])
    assert out["mirror"]["angle_deg"] == pytest.approx(8, abs=0.3)
    assert out["mirror"]["offset_mm"] == pytest.approx(5, abs=0.5)


def test_one_map_flip_and_registration_together_moves_all_images(egg, case) -> None:
    out = SymmetricModalitiesd(KEYS)(SkullStripd()(case(egg(8, 5))))
    mirror = reflection(out["mirror"]["angle_deg"], out["mirror"]["offset_mm"])
    for key in ("cbf", "tmax"):
        want = apply_mirror(out[key][0].numpy(), mirror, (2.0, 2.0))
        np.testing.assert_allclose(out[f"{key}_sym"][0].numpy(), want, atol=1e-4)


def test_a_spot_on_one_side_shows_up_at_its_counterpart(egg, case) -> None:
    entry = SkullStripd()(case(egg(0, 12)))  # midline at 12 mm: pixel 47.5 + 6
    entry["tmax"][0, 70, 40, :] = 500.0
    twin = SymmetricModalitiesd(KEYS)(entry)["tmax_sym"]
    assert np.unravel_index(int(twin[0, :, :, 0].argmax()), (96, 96)) == (37, 40)


def test_the_symmetric_ct_comes_from_the_head_and_ends_where_the_symmetric_maps_end(egg, case) -> None:
    out = SymmetricModalitiesd(KEYS)(SkullStripd()(case(egg(8, 5))))
    support = sum(out[f"{key}_sym"] for key in KEYS[1:]) > 0
    assert (out["ct_sym"][~support] == 0).all() and (out["ct_sym"][support] != 0).float().mean() > 0.99
    want = apply_mirror(
        out["head"][0].numpy(), reflection(out["mirror"]["angle_deg"], out["mirror"]["offset_mm"]), (2, 2)
    )
    np.testing.assert_allclose(out["ct_sym"][support].numpy(), want[support[0].numpy()], atol=2e-2)


def test_the_background_of_the_maps_stays_exactly_zero(egg, case) -> None:
    out = SymmetricModalitiesd(KEYS)(SkullStripd()(case(egg(8, 5))))
    assert (out["cbf_sym"] >= 0).all()
    mirror = reflection(out["mirror"]["angle_deg"], out["mirror"]["offset_mm"])
    far = apply_mirror(out["brain"][0].numpy(), mirror, (2, 2)) == 0
    assert (out["cbf_sym"][0].numpy()[far] == 0).all()


def test_magnetic_resonance_needs_no_ct_and_no_mask(egg, case) -> None:
    image = np.where(egg(8, 5) > -500, egg(8, 5).clip(0, 60) * 7 + 100, 0)
    entry = case(image)
    out = SymmetricModalitiesd(("ct", "tmax"), head="ct", ct=None, maps=(), window=None)(entry)
    assert out["mirror"]["angle_deg"] == pytest.approx(8, abs=0.3)
    assert int((out["ct_sym"] > 0).sum()) == pytest.approx(int((entry["ct"] > 0).sum()), rel=0.05)


def test_plain_tensors_work_and_stay_plain(egg, case) -> None:
    entry = case(egg(8, 2.5))
    entry |= {key: entry[key].as_tensor() for key in KEYS}
    out = SymmetricModalitiesd(KEYS)(SkullStripd()(entry))
    assert type(out["ct_sym"]) is torch.Tensor and out["mirror"]["offset_mm"] == pytest.approx(1.25, abs=0.3)


def test_records_can_be_collated(egg, case) -> None:
    out = SymmetricModalitiesd(KEYS)(SkullStripd()(case(egg(8, 5))))
    batch = list_data_collate([{"mirror": out["mirror"]}, {"mirror": out["mirror"]}])
    assert batch["mirror"]["angle_deg"].shape == (2,) and batch["mirror"]["method"] == ["rigid"] * 2


@pytest.mark.parametrize("bundle", ["clerigues", "clerigues_mri"])
def test_the_former_option_of_a_cache_is_refused(bundle: str) -> None:
    with pytest.raises(TypeError, match="cache_dir"):
        SymmetricModalitiesd(KEYS, cache_dir="data")
    for step in range(3, 5):
        setting = {f"preprocessing#transforms#{step}#cache_dir": "data"}
        with pytest.raises(IslesError, match="E-XVAL-02"):
            Bundle(BUNDLES / bundle, settings=setting).config("train")


def test_a_head_that_is_no_number_names_the_case(egg, case) -> None:
    entry = SkullStripd()(case(egg(8, 5)))
    entry["head"] = torch.full_like(entry["head"], torch.nan)
    with pytest.raises(IslesError, match=r"E-REG-06.*\n.*case_7"):
        SymmetricModalitiesd(KEYS)(entry)


def test_without_skull_stripping_the_message_says_so(egg, case) -> None:
    with pytest.raises(IslesError, match=r"E-SYM-01.*\n.*case_7.*\n.*head(?s:.*)SkullStripd before"):
        SymmetricModalitiesd(KEYS)(case(egg()))


def test_a_map_of_the_mask_must_be_among_the_keys(egg, case) -> None:
    with pytest.raises(IslesError, match=r"E-SYM-01(?s:.*)not among the keys: mtt"):
        SymmetricModalitiesd(("ct", "cbf", "cbv", "tmax"))(SkullStripd()(case(egg())))


def test_images_of_different_shape_are_refused(egg, case) -> None:
    entry = SkullStripd()(case(egg()))
    entry["tmax"] = entry["tmax"][:, :90]
    with pytest.raises(IslesError, match=r"E-SYM-02.*one shape(?s:.*)tmax \(1, 90, 96, 2\)"):
        SymmetricModalitiesd(KEYS)(entry)


def upright(entry: dict, **how) -> dict:
    return UprightHeadd(["ct", "cbf", "tmax"], **how)(HealthyScaled()(entry))


@pytest.mark.parametrize(("angle", "offset_mm"), [(0, 0), (8, 5), (-25, -12)])
def test_an_upright_head_is_its_own_flip(egg, case, angle: float, offset_mm: float) -> None:
    entry = case(egg(angle, offset_mm))
    out = upright(entry)
    assert out["ct"].shape == (1, 96, 128, entry["ct"].shape[3])
    assert out["mirror"]["angle_deg"] == pytest.approx(angle, abs=0.4)
    image = out["ct"].as_tensor()
    assert float((image - image.flip(1)).abs().mean()) < 0.1 * float(image.abs().mean())


def test_the_outline_of_the_maps_shows_the_midline_where_there_is_no_ct(egg, case) -> None:
    entry = case(egg(8, 5))
    del entry["ct"]
    out = UprightHeadd(["cbf"])(HealthyScaled()(entry))
    assert out["mirror"]["angle_deg"] == pytest.approx(8, abs=1.0)
    assert out["mirror"]["offset_mm"] == pytest.approx(5, abs=1.0)


def test_the_affine_follows_and_the_way_back_is_the_way_out(egg, case) -> None:
    entry = case(egg(8, 5))
    i, j = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    wave = torch.sin(i / 9) + torch.cos(j / 7)
    entry["cbf"] = MetaTensor(wave[None, ..., None].expand(-1, -1, -1, 2) + 3, affine=entry["ct"].affine)
    scaled = HealthyScaled()(entry)
    scaled["wave"] = entry["cbf"]
    out = UprightHeadd(["wave"])(scaled)["wave"]
    # a voxel of the upright grid shows the place in mm that its affine says
    point = out.affine @ torch.tensor([48.0, 64.0, 1.0, 1.0], dtype=torch.float64)
    u, v = (torch.linalg.inv(entry["ct"].affine.double()) @ point)[:2].tolist()
    assert float(out[0, 48, 64, 1]) == pytest.approx(3 + np.sin(u / 9) + np.cos(v / 7), abs=0.02)
    back = SourceGridd("wave")({"wave": out})["wave"]
    assert back.shape == entry["cbf"].shape and torch.allclose(back.affine, entry["ct"].affine.double())
    assert float((back - entry["cbf"])[0, 24:72, 24:72].abs().max()) < 0.05
    assert SourceGridd("wave")({"wave": back.clone()})["wave"].shape == back.shape


def test_masks_count_where_they_cover_half_a_pixel(egg, case) -> None:
    entry = case(egg(0, 0))
    entry["label"] = MetaTensor(torch.zeros(1, 96, 96, 2), affine=entry["ct"].affine)
    entry["label"][0, 40:50, 30:60] = 1
    out = UprightHeadd(["label"], pixel_mm=2.0)(HealthyScaled()(entry))["label"]
    assert set(out.unique().tolist()) == {0.0, 1.0} and abs(int(out.sum()) - 600) <= 60
