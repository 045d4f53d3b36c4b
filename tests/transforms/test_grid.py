from __future__ import annotations

import pytest

from monai_isles.errors import IslesError
from monai_isles.transforms import SameGridd

KEYS = ("ct", "cbf", "tmax")


def test_a_case_on_one_grid_passes_unchanged(egg, case) -> None:
    entry = case(egg())
    entry["cbf"].affine[0, 3] += 1e-5
    out = SameGridd(KEYS)(entry)
    assert all(out[key] is entry[key] for key in entry)


def test_another_place_is_refused_with_case_and_key(egg, case) -> None:
    entry = case(egg())
    entry["tmax"].affine[0, 3] += 1.0
    with pytest.raises(IslesError, match=r"E-GEOM-03.*same grid.*\n.*case_7: tmax"):
        SameGridd(KEYS)(entry)


def test_another_shape_is_refused(egg, case) -> None:
    entry = case(egg())
    entry["cbf"] = entry["cbf"][..., :1]
    with pytest.raises(IslesError, match=r"E-GEOM-04.*shapes.*\n.*case_7: cbf"):
        SameGridd(KEYS)(entry)


def test_an_image_without_affine_is_refused(egg, case) -> None:
    entry = case(egg())
    entry["cbf"] = entry["cbf"].as_tensor()
    with pytest.raises(IslesError, match=r"E-GRID-01.*place.*\n.*case_7: cbf(?s:.*)track_meta"):
        SameGridd(KEYS)(entry)


def test_a_key_that_may_be_missing_is_skipped(egg, case) -> None:
    assert "label" not in SameGridd((*KEYS, "label"), allow_missing_keys=True)(case(egg()))
    with pytest.raises(KeyError):
        SameGridd((*KEYS, "label"))(case(egg()))
