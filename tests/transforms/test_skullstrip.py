from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.transforms import SkullStripd, brain_mask


def test_the_ct_is_kept_where_any_map_is_above_zero(egg, case) -> None:
    entry = case(egg())
    for key in ("cbf", "cbv", "mtt"):
        entry[key] = entry[key] * 0
    out = SkullStripd()(entry)
    assert torch.equal(out["brain"], (entry["tmax"] > 0).float())
    assert torch.equal(out["ct"], torch.where(entry["tmax"] > 0, entry["ct"], 0.0))
    assert torch.equal(out["head"], entry["ct"]) and torch.equal(out["tmax"], entry["tmax"])


def test_the_input_is_not_changed_and_the_affine_is_kept(egg, case) -> None:
    entry = case(egg())
    before = entry["ct"].clone()
    out = SkullStripd()(entry)
    out["head"] += 1
    assert torch.equal(entry["ct"], before) and "head" not in entry
    for key in ("ct", "brain", "head"):
        assert isinstance(out[key], MetaTensor) and torch.equal(out[key].affine, entry["ct"].affine)


def test_the_mask_is_the_sum_above_zero_and_not_each_map_alone() -> None:
    maps = [torch.tensor([2.0, -1.0, 0.0, 1.0]), torch.tensor([-1.0, 1.0, 0.0, 0.0])]
    assert brain_mask(maps).tolist() == [1, 0, 0, 1]


def test_maps_without_brain_are_refused(egg, case) -> None:
    entry = case(egg() * 0)
    with pytest.raises(IslesError, match=r"E-STRIP-01.*no brain.*\n.*case_7"):
        SkullStripd()(entry)


@pytest.mark.parametrize("key", ["ct", "mtt"])
def test_shapes_that_differ_are_refused(egg, case, key: str) -> None:
    entry = case(egg())
    entry[key] = entry[key][..., :1]
    with pytest.raises(IslesError, match=r"E-STRIP-02.*differ in shape.*\n.*case_7(?s:.*)\(1, 96, 96, 1\)"):
        SkullStripd()(entry)


def test_a_missing_map_is_named(egg, case) -> None:
    entry = case(egg())
    del entry["mtt"]
    with pytest.raises(IslesError, match=r"E-STRIP-03.*missing.*\n.*case_7.*\n.*no mtt among"):
        SkullStripd()(entry)
