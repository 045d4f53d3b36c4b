"""The registration of the mirrored channels is a setting of the two bundles that have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_isles.transforms import SymmetricModalitiesd

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.mark.parametrize("config", ["train", "inference"])
@pytest.mark.parametrize(("bundle", "dimensions"), [("clerigues", 2), ("clerigues_mri", 3)])
@pytest.mark.parametrize("mirror", [None, "affine"])
def test_the_mirror_is_rigid_unless_it_is_set(bundle: str, dimensions: int, config: str, mirror: str | None) -> None:
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / bundle / f"{config}.json"))
    changes = {} if mirror is None else {"mirror": mirror}
    parser.update({"bundle_root": str(BUNDLES / bundle), "output_dir": "unused", "dataset_dir": None, **changes})
    chain = parser.get_parsed_content("preprocessing").transforms
    (made,) = [one for one in chain if isinstance(one, SymmetricModalitiesd)]
    assert (made.method, made.dimensions) == (mirror or "rigid", dimensions)
