"""The BIDS derivatives of a case pass the BIDS validators: the new one as they are, the old one below raw data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.inference.outputs import publish_bids

Client = Callable[..., str]
RESULTS = ("lesion", "probability", "uncertainty", *(f"maps/{key}" for key in ("cbf", "cbv", "mtt", "tmax", "ttp")))


@pytest.fixture
def derivatives(tmp_path: Path) -> Path:
    """All results of a case with a session and a space, below a raw BIDS data set of one head."""
    values = np.random.default_rng(0).random((8, 8, 4)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 5.0, 1.0]))
    image.header.set_xyzt_units("mm")
    name = "sub-01_ses-02"
    for path in (*(f"work/{name}/{kind}" for kind in RESULTS), f"raw/sub-01/ses-02/anat/{name}_T1w"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, tmp_path / f"{path}.nii.gz")
    (tmp_path / f"work/{name}/result.json").write_text("{}")
    (tmp_path / f"work/{name}/report.html").write_text("<!doctype html>")
    entry = {"case": name, "subject": "sub-01", "ct": f"{name}_space-ncct_ct.nii.gz"}
    raw = {"Name": "heads", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["A", "B"]}
    (tmp_path / "raw/dataset_description.json").write_text(json.dumps(raw))
    (tmp_path / "raw/README").write_text("Heads.")
    return publish_bids(tmp_path / "work", [entry], root=tmp_path / "raw/derivatives/monai_isles")


def test_the_new_validator_finds_no_error(derivatives: Path, client: Client, record: Callable[..., None]) -> None:
    version = client("bids-validator-deno")
    words = ["bids-validator-deno", str(derivatives), "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    issues = json.loads(done.stdout)["issues"]["issues"]
    errors = [one for one in issues if one["severity"] == "error"]
    assert done.returncode == 0 and not errors, errors
    record("bids-validator (deno)", version, "derivatives of a case, alone", "no error")


def test_a_name_outside_the_rules_would_be_found(derivatives: Path, client: Client) -> None:
    client("bids-validator-deno")
    (derivatives / ".bidsignore").unlink()
    done = subprocess.run(["bids-validator-deno", str(derivatives)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0 and "NOT_INCLUDED" in done.stdout + done.stderr


def test_the_old_validator_finds_no_error(derivatives: Path, client: Client, record: Callable[..., None]) -> None:
    version = client("bids-validator")
    words = ["bids-validator", str(derivatives.parents[1]), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout)["issues"]["errors"] == [], done.stdout[:2000]
    record("bids-validator (legacy)", version, "derivatives below a raw data set", "no error")
