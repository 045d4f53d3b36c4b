"""Relative flow inside a chain: the same numbers as the plain functions, with and without a CT."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.transforms import RelativeFlowd


def entry(**changed: np.ndarray) -> dict[str, MetaTensor | str]:
    brain = np.zeros((12, 6, 2), np.float32)
    brain[1:11] = 1.0
    cbf = 40.0 * brain
    cbf[2, 2:4] = 10.0
    tmax = 2.0 * brain
    tmax[1:4] = 9.0
    volumes = {"cbf": cbf, "cbv": 4 * brain, "mtt": 5 * brain, "tmax": tmax, **changed}
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    return {"case": "case_7", **{k: MetaTensor(torch.tensor(v)[None], affine=affine) for k, v in volumes.items()}}


def test_flow_is_a_fraction_of_the_side_without_delay() -> None:
    out = RelativeFlowd()(entry())
    assert float(out["rcbf"][0, 2, 2, 0]) == 0.25 and float(out["rcbf"][0, 8, 2, 0]) == 1.0
    assert float(out["rcbf"][0, 0].abs().max()) == 0.0 and out["midline"] == "centroid"
    assert torch.equal(out["brain"].as_tensor(), (out["cbv"].as_tensor() > 0).float())
    assert out["rcbf"].dtype == torch.float32 and np.array_equal(out["rcbf"].affine, out["cbf"].affine)


def test_a_ct_that_cannot_be_registered_leaves_the_centre_column() -> None:
    out = RelativeFlowd()(entry(ct=np.full((12, 6, 2), -1000.0, np.float32)))
    assert out["midline"] == "centroid"


def test_a_ct_that_the_bundle_does_not_read_is_left_alone() -> None:
    out = RelativeFlowd()(entry() | {"ct": "case_1/ct.nii"})  # overlay without_ct.json on a case with a CT
    assert out["midline"] == "centroid" and out["ct"] == "case_1/ct.nii"


def test_the_brain_may_come_from_other_maps() -> None:
    data = entry()
    del data["mtt"]
    assert float(RelativeFlowd(maps=("cbf", "cbv", "tmax"))(data)["rcbf"].max()) == 1.0


def test_plain_tensors_do() -> None:
    data = {key: value.as_tensor() if isinstance(value, MetaTensor) else value for key, value in entry().items()}
    assert float(RelativeFlowd()(data)["rcbf"].max()) == 1.0


def test_a_missing_map_is_named() -> None:
    data = entry()
    del data["tmax"]
    with pytest.raises(IslesError, match=r"(?s)E-STRIP-04: a perfusion map is missing.*case_7.*no tmax among"):
        RelativeFlowd()(data)
