from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.phantom.atlas import load_atlas


def test_missing_maps_name_the_package_to_install() -> None:
    with pytest.raises(
        IslesError,
        match=r"E-PHAN-01: the tissue maps of the phantom are missing(?s:.*)no_such_package(?s:.*)pip install nilearn",
    ):
        load_atlas.__wrapped__("no_such_package")


def test_the_atlas_is_symmetric_and_its_ventricles_lie_deep() -> None:
    atlas = load_atlas()
    assert np.array_equal(atlas.gm, atlas.gm[::-1]) and np.array_equal(atlas.artery, atlas.artery[::-1])
    assert atlas.ventricle[98 - 12 : 98 + 13, 110:150, 90].max() > 200
    assert atlas.depth[49, 58, 45] > 30 and atlas.depth[0, 0, 45] < -20
