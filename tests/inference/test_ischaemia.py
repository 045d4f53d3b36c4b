"""The block of numbers that the threshold rules put beside a network's result."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data import find_entries
from monai_isles.evaluation.threshold_baselines import RCBF30, single_threshold_core
from monai_isles.inference.ischaemia import case_ischaemia, perfusion_block, read_perfusion_case


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, object]:
    """Two slices of a brain with 24 ml of delay, 6 ml of it core, on the left; voxels of 0.1 ml."""
    brain = np.zeros((40, 40, 2), np.float32)
    brain[5:35, 5:35] = 1.0
    cbf, tmax = 50 * brain, 2 * brain
    tmax[6:16, 6:18], cbf[6:11, 6:12] = 9.0, 5.0
    maps = {"cbf": cbf, "cbv": 4 * brain, "mtt": 5 * brain, "tmax": tmax}
    for key, data in maps.items():
        image = nibabel.Nifti1Image(data, np.diag([5.0, 4.0, 5.0, 1.0]))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, tmp_path / f"{key}.nii.gz")
    return {"case": "case_1", **{key: str(tmp_path / f"{key}.nii.gz") for key in maps}}


def test_volumes_of_a_case_by_hand(entry: dict[str, object]) -> None:
    block = perfusion_block(entry)
    assert (block["core_ml"], block["hypoperfused_ml"], block["penumbra_ml"]) == (6.0, 24.0, 18.0)
    assert (block["mismatch_ml"], block["mismatch_ratio"], block["defuse3"]) == (18.0, 4.0, True)
    assert block["tmax_ml"] == {"4": 24.0, "6": 24.0, "8": 24.0, "10": 0.0} and block["midline"] == "centroid"
    assert (block["cbv_index"], block["side"], block["hir"]) == (1.0, "left", 0.0)
    assert block["rcbf_ml"] == {"20": 6.0, "30": 6.0, "34": 6.0, "38": 6.0}
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_the_bundles_own_cuts_count(entry: dict[str, object]) -> None:
    block = perfusion_block(entry, {"core_rcbf": 0.05, "delay_s": 10, "step": [3, 3]})
    assert (block["core_ml"], block["hypoperfused_ml"], block["core_rcbf"]) == (0.0, 0.0, 0.05)
    assert block["mismatch_ratio"] is None and "step" not in block


def test_the_smallest_lesion_of_a_network_does_not_change_the_rules(entry: dict[str, object]) -> None:
    assert perfusion_block(entry, {"min_cluster_ml": 8.0, "threshold": 0.4}) == perfusion_block(entry)


def test_two_maps_are_enough(entry: dict[str, object]) -> None:
    del entry["cbv"], entry["mtt"]
    assert perfusion_block(entry)["core_ml"] == 6.0


@pytest.mark.parametrize("key", ["cbf", "tmax"])
def test_without_the_maps_there_is_no_block(entry: dict[str, object], key: str) -> None:
    del entry[key]
    assert perfusion_block(entry) is None and case_ischaemia(entry) is None


def test_where_the_rules_cannot_be_applied_the_reason_stands(entry: dict[str, object]) -> None:
    image = nibabel.load(str(entry["cbf"]))
    flow = image.get_fdata(dtype=np.float32)
    flow[20:] = 0.0
    nibabel.save(nibabel.Nifti1Image(flow, image.affine, image.header), str(entry["cbf"]))
    assert perfusion_block(entry)["not_computed"].startswith("E-EVAL-02: no blood flow on the reference side")


def test_maps_without_a_mask_and_a_ct_have_no_core(entry: dict[str, object]) -> None:
    """Noise in the air would count as brain, and as core."""
    for key in ("cbf", "tmax"):
        image = nibabel.load(str(entry[key]))
        noisy = np.maximum(image.get_fdata(dtype=np.float32), 0.5)
        nibabel.save(nibabel.Nifti1Image(noisy, image.affine, image.header), str(entry[key]))
    assert perfusion_block(entry)["not_computed"].startswith(
        "E-VAL-20: perfusion maps cover bone or air (values in 100%"
    )


def test_the_core_of_the_phantom_is_that_of_the_evaluation(phantom_folder: Path) -> None:
    for one in find_entries(phantom_folder, section="training", keys=("ct", "cbf", "cbv", "mtt", "tmax")):
        case = read_perfusion_case(one)
        found, midline = case_ischaemia(one)
        assert midline == case.midline == "mirror"
        assert np.array_equal(found.core, single_threshold_core(case, RCBF30))
