"""Resampling onto the reference grid: exact by hand, and only where somebody has said that it is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.io.read import Image, require_same_grid
from monai_isles.transforms.grid import ResampleLiked, onto_first


def image(shape: tuple[int, ...], spacing: float, origin: tuple[float, ...] = (0, 0, 0), **meta: object) -> MetaTensor:
    """Voxels hold their x position in mm."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = origin
    x = (torch.arange(shape[0], dtype=torch.float32) * spacing + origin[0])[:, None, None]
    return MetaTensor(x.expand(shape).clone()[None], affine=torch.tensor(affine), meta=dict(meta))


def entry(**meta: object) -> dict:
    return {"case": "case_1", "ct": image((8, 8, 4), 1.0, **meta), "cbf": image((6, 6, 4), 2.0, (-1, 0, 0), **meta)}


@pytest.mark.parametrize("asked", ["allow", "entry", "frame"])
def test_a_ramp_in_mm_is_the_same_ramp_on_the_other_grid(asked: str) -> None:
    data = entry(frame_of_reference="1.2.3" if asked == "frame" else "")
    data |= {"resample": True} if asked == "entry" else {}
    out = ResampleLiked(["ct", "cbf"], allow=asked == "allow")(data)
    assert out["cbf"].shape == (1, 8, 8, 4) and out["cbf"].dtype == torch.float32
    torch.testing.assert_close(out["cbf"].affine, data["ct"].affine)
    torch.testing.assert_close(out["cbf"].as_tensor(), data["ct"].as_tensor(), atol=1e-4, rtol=0)
    assert out["ct"] is data["ct"]


def test_a_mask_stays_a_mask() -> None:
    data = entry()
    affine = data["cbf"].affine.clone()
    affine[0, 3] = -1.25
    mask = MetaTensor((data["cbf"].as_tensor() > 3).to(torch.uint8), affine=affine)
    out = ResampleLiked(["ct", "label"], allow=True)(data | {"label": mask})["label"]
    assert out.dtype == torch.uint8 and set(out.unique().tolist()) == {0, 1}
    assert out[0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]  # voxels at 2.75 and 4.75 mm: 4 mm is the second


def test_one_grid_passes_untouched() -> None:
    data = entry()
    other = MetaTensor(data["ct"].as_tensor() * 2, affine=data["ct"].affine)
    out = ResampleLiked(["ct", "mtt"])(data | {"mtt": other})
    assert out["mtt"] is other


@pytest.mark.parametrize("frames", [("", ""), ("1.2", "1.3"), ("1.2", "")])
def test_nobody_asked_so_it_is_refused_with_the_distance(frames: tuple[str, str]) -> None:
    """Far corners: 7.5, 7.5, 3.5 against 10, 11, 7 mm: 2.5, 3.5, 3.5 apart, 5.545 mm."""
    data = entry()
    for key, frame in zip(("ct", "cbf"), frames, strict=True):
        data[key].meta["frame_of_reference"] = frame
    words = (
        r"E-GRID-02: images are not(?s:.*)case_1: cbf against ct(?s:.*)corners 5.545 mm apart, 6 x 6 x 4 against 8 x"
    )
    with pytest.raises(IslesError, match=words):
        ResampleLiked(["ct", "cbf"])(data)


def test_images_that_do_not_overlap_are_refused() -> None:
    data = entry() | {"cbf": image((6, 6, 4), 2.0, (100, 0, 0))}
    with pytest.raises(IslesError, match=r"E-GRID-03: fields of view do not overlap(?s:.*)91.5 mm between them"):
        ResampleLiked(["ct", "cbf"], allow=True)(data)


def test_a_tensor_without_a_place_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-GRID-04(?s:.*)case_1: cbf"):
        ResampleLiked(["ct", "cbf"], allow=True)(entry() | {"cbf": torch.zeros(1, 2, 2, 2)})


def test_without_a_named_reference_the_first_key_that_is_there_is_it() -> None:
    data = entry() | {"resample": True}
    out = ResampleLiked(["flair", "cbf", "ct"], allow_missing_keys=True)(data)
    assert out["cbf"] is data["cbf"] and out["ct"].shape == (1, 6, 6, 4)
    assert ResampleLiked("flair", allow_missing_keys=True)(data) == data


def test_it_can_leave_the_refusal_to_the_next_transform() -> None:
    data = entry() | {"mtt": torch.zeros(1, 2, 2, 2)}
    out = ResampleLiked(["ct", "cbf", "mtt"], refuse=False)(data)
    assert all(out[key] is data[key] for key in data)
    assert ResampleLiked(["mtt", "cbf"], refuse=False)(data) == data


def test_a_resampled_image_takes_over_grid_and_file_of_the_reference() -> None:
    data = entry()
    for key in ("ct", "cbf"):
        data[key].meta |= {"filename_or_obj": f"{key}.nii", "sha256": key, "native_shape": np.array(data[key].shape)}
    meta = ResampleLiked(["ct", "cbf"], allow=True)(data)["cbf"].meta
    assert (meta["filename_or_obj"], meta["sha256"]) == ("ct.nii", "cbf")
    np.testing.assert_array_equal(meta["native_shape"], data["ct"].meta["native_shape"])


def test_images_as_read_come_onto_the_first() -> None:
    images = {
        key: Image(
            one[0].numpy(), one.affine.numpy(), tuple(one.pixdim.tolist()), Path(key), key, one.affine.numpy(), ()
        )
        for key, one in ((key, entry()[key]) for key in ("ct", "cbf"))
    }
    out = onto_first(images, case="case_1")
    assert out["ct"] is images["ct"] and out["cbf"].spacing_mm == out["ct"].spacing_mm and out["cbf"].sha256 == "cbf"
    np.testing.assert_allclose(out["cbf"].data, out["ct"].data, atol=1e-4)
    require_same_grid(out, case="case_1")


def test_in_a_map_the_outside_is_not_mixed_into_the_brain() -> None:
    """Flow of 50 up to a border: half way over it the value is 50 or 0, nothing between."""
    data = entry()
    flow = torch.where(data["cbf"].as_tensor() > 3, 50.0, 0.0)
    out = ResampleLiked(["ct", "cbf"], allow=True)(data | {"cbf": MetaTensor(flow, affine=data["cbf"].affine)})
    found = out["cbf"][0, :, 0, 0].tolist()
    assert found == pytest.approx([0, 0, 0, 0, 50, 50, 50, 50])
    ramp = ResampleLiked(["ct", "flair"], allow=True)(data | {"flair": MetaTensor(flow, affine=data["cbf"].affine)})
    assert ramp["flair"][0, 4, 0, 0] == pytest.approx(25.0)


def test_outside_a_ct_and_a_series_is_air() -> None:
    """The maps reach 8 mm further than the series, whose voxels hold 0 to 7 HU."""
    data = {"cbf": image((16, 8, 4), 1.0), "ctp": image((8, 8, 4), 1.0), "ct": image((8, 8, 4), 1.0)}
    out = ResampleLiked(list(data), allow=True)(data | {"ctp": torch.cat([data["ctp"]] * 3)})
    assert out["ctp"].shape == (3, 16, 8, 4)
    for key in ("ctp", "ct"):
        found = out[key][-1, :, 0, 0].tolist()
        assert found == pytest.approx([*range(8), *[-1024] * 8], abs=1e-3)


@pytest.mark.parametrize("key", ["flair", "ctp"])
def test_an_image_reaches_to_the_edge_of_its_outermost_voxels(key: str) -> None:
    """The first slice of the reference lies 0.4 voxel below the middle of the first of the image, which holds 3."""
    data = {"dwi": image((8, 8, 6), 1.0), key: image((8, 8, 4), 1.0, (0, 0, 1.4))}
    data[key][:] = 3
    out = ResampleLiked(list(data), allow=True)(data)[key]
    assert out[0, 4, 4, 1:5].tolist() == pytest.approx([3, 3, 3, 3], abs=1e-3)
    assert (out[0, 4, 4, [0, 5]] == (-1024 if key == "ctp" else 0)).all()


def test_one_slice_stays_one_slice() -> None:
    """A map of the third of five slices: torch reads the only voxel of an axis at every place."""
    place = np.diag([1.0, 1.0, 10.0, 1.0])
    place[2, 3] = 20.0
    data = {key: MetaTensor(torch.full((1, 4, 4, 1), 1.0), affine=place) for key in ("cbf", "label")}
    data["ct"] = MetaTensor(torch.zeros(1, 4, 4, 5), affine=np.diag([1.0, 1.0, 10.0, 1.0]))
    out = ResampleLiked(["ct", "cbf", "label"], allow=True)(data)
    for key in ("cbf", "label"):
        assert out[key][0, 2, 2].tolist() == [0, 0, 1, 0, 0]
    place[2, 3], place[0, 0] = 22.0, 0.5  # another grid in plane, 2 mm off in slices of 10 mm: no air is mixed in
    thin = {"cbf": data["cbf"], "ct": MetaTensor(torch.full((1, 8, 4, 1), 40.0), affine=place)}
    assert ResampleLiked(["cbf", "ct"], allow=True)(thin)["ct"][0, 2, 2, 0] == pytest.approx(40.0)


@pytest.mark.parametrize(("z_mm", "wanted"), [(0.0, 10.0), (25.0, 12.5), (40.0, 14.0)])
def test_onto_one_slice_comes_what_lies_there(z_mm: float, wanted: float) -> None:
    """Slices of 10 to 14, 10 mm apart: torch writes the only voxel of an axis half a voxel off."""
    place = np.diag([1.0, 1.0, 10.0, 1.0])
    stack = MetaTensor(torch.arange(10.0, 15.0).expand(1, 4, 4, 5).clone(), affine=place)
    place = place.copy()
    place[2, 3] = z_mm
    out = ResampleLiked(["ct", "flair"], allow=True)({
        "ct": MetaTensor(torch.zeros(1, 4, 4, 1), affine=place), "flair": stack
    })  # fmt: skip
    assert out["flair"].shape == (1, 4, 4, 1) and out["flair"][0, 2, 2, 0] == pytest.approx(wanted)
