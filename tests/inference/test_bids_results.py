"""Results under BIDS-derivative names are the results themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.inference.outputs import publish_bids


def test_what_is_there_is_copied_and_the_folder_describes_itself(tmp_path: Path) -> None:
    for name in ("lesion.nii.gz", "result.json", "maps/tmax.nii.gz"):
        path = tmp_path / "case_7" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    root = publish_bids(tmp_path, [{"case": "case_7", "subject": "s", "fold": None, "ct": "maps/ct.nii.gz"}])
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    about = json.loads(found.pop("dataset_description.json"))
    assert about["DatasetType"] == "derivative" and about["BIDSVersion"]
    beside = json.loads(found.pop("sub-case7/anat/sub-case7_label-lesion_desc-monaiisles_mask.json"))
    assert beside["SpatialReference"] == "orig" and b"research only" in found.pop("README.md").lower()
    ignored = found.pop(".bidsignore").decode().splitlines()
    assert "*_desc-monaiisles_tmax.nii.gz" in ignored and not any("mask" in line for line in ignored)
    assert found == {
        "sub-case7/anat/sub-case7_label-lesion_desc-monaiisles_mask.nii.gz": b"lesion.nii.gz",
        "sub-case7/perf/sub-case7_desc-monaiisles_result.json": b"result.json",
        "sub-case7/perf/sub-case7_desc-monaiisles_tmax.nii.gz": b"maps/tmax.nii.gz",
    }
    (tmp_path / "case_7/maps/tmax.nii.gz").unlink()
    publish_bids(tmp_path, [{"case": "case_7"}])
    assert not list(root.rglob("*tmax*")) and list(root.rglob("*mask.nii.gz"))


def test_two_cases_of_one_name_in_bids_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-20(?s:.*)sub-p1/perf"):
        publish_bids(tmp_path, [{"case": name, "ct": "ct.nii.gz"} for name in ("p_1", "p1")])
    assert not any(tmp_path.iterdir())
