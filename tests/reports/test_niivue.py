"""NiiVue in the page: from file:// in headless Chromium, no script error, every volume there, small enough to mail."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.reports.page import case_page
from monai_isles.reports.viewer import niivue_facts
from monai_isles.reports.views import CaseView
from tests.reports.test_viewer import CHROMIUM, make_view


@pytest.fixture(scope="module")
def view() -> CaseView:
    """A case whose grid has an origin of its own."""
    affine = np.array([[2.0, 0, 0, -48], [0, 2.5, 0, -60], [0, 0, 5.0, 33], [0, 0, 0, 1]])
    return make_view(affine=affine)


def test_volumes_lead_back_to_their_units_and_places(view: CaseView) -> None:
    """The value and the mm of a voxel, worked out from the arrays: half a level is 0.5 HU and 0.24 ml/100 g/min."""
    facts = niivue_facts(view)["data"]
    by_key = {one["key"]: one for one in facts["volumes"]}
    assert list(by_key) == ["ct", "cbf", "tmax", "probability", "uncertainty"]
    for key, half in (("ct", 0.5), ("cbf", 0.24)):
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(by_key[key]["base64"])))
        start = np.rint(np.linalg.solve(view.affine, image.affine)[:3, 3]).astype(int)
        cut = tuple(slice(a, a + n) for a, n in zip(start, image.shape, strict=True))
        whole = np.clip(view.images[key], -40, 214) if key == "ct" else view.images[key]
        np.testing.assert_allclose(image.get_fdata(), whole[cut], atol=half)
    assert [mask["name"] for mask in facts["masks"]] == ["core", "hypoperfused", "lesion"]


@pytest.mark.long
def test_the_page_runs_from_a_file_without_a_script_error(view: CaseView, tmp_path: Path) -> None:
    case_page(view, tmp_path / "page.html", viewer="niivue")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "isCornerOrientationText: true" in text  # on the cross R lay grey on white bone
    assert len(text) < 8e6 and "Copyright (c) 2021, Niivue" in text and "connect-src data: blob:" in text
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    quiet = ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    quiet += ["--disable-background-networking", f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=20000"]
    words = [CHROMIUM, *quiet, "--enable-logging=stderr", "--dump-dom", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    frame = re.search(r'<div class="niivue"[^>]*>', done.stdout)[0]
    assert 'data-ready="yes"' in frame and 'data-volumes="4"' in frame and "data-fault" not in frame  # CT, masks
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in said if "rror" in line or "Refused" in line]


def test_the_small_viewer_stays_the_default(view: CaseView, tmp_path: Path) -> None:
    case_page(view, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'id="niivue"' not in text and len(text) < 1e6 and "connect-src" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    right, front, up = (np.array(data["affine"]) @ [0, 0, 2, 1])[:3]
    assert up == 33 + 2 * 5.0 and right <= -48 + 47 * 2.0 and front <= -60 + 47 * 2.5
