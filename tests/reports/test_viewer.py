"""The page of a measured series opens offline in a browser, scrolls, windows, and says what was measured."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from monai_isles.errors import IslesError
from monai_isles.reports import canvas as palette
from monai_isles.reports.montage import case_montage
from monai_isles.reports.page import case_page
from monai_isles.reports.sheet import perfusion_tiles
from monai_isles.reports.viewer import MOST_PIXELS, MOST_SLICES, levels, page_data
from monai_isles.reports.views import LOOKS, MASKS, CaseView

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RESULT = {
    "lesion_ml": 23.4,
    "lesion_ml_interval": [18.2, 30.1],
    "perfusion": {
        "core_ml": 12.1, "hypoperfused_ml": 60.5, "penumbra_ml": 48.4, "mismatch_ml": 48.4, "mismatch_ratio": 5.0,
        "defuse3": True, "tmax_ml": {"4": 88.0, "6": 60.5}, "core_rcbf": 0.3, "delay_s": 6.0, "min_cluster_ml": 0.5,
    },
    "quality": [
        {"code": "plain-ct", "severity": "info", "text": "a mean stands in"},
        {"code": "weak-aif", "severity": "warning", "text": "arterial peak 40 HU <b>"},
    ],
    "bundle": "clerigues",
    "weights_sha256": ["ab" * 32],
    "threshold": 0.2,
    "modalities": {"ct": "/secret/ZZPATIENT/ct.nii"},
}  # fmt: skip


def make_view(*, depth: int = 3, size: int = 48, **more: object) -> CaseView:
    i, j, k = np.indices((size, size, depth))
    brain = ((i - size / 2) / (0.35 * size)) ** 2 + ((j - size / 2) / (0.4 * size)) ** 2 < 1
    late = brain & ((i - 0.3 * size) ** 2 + (j - 0.5 * size) ** 2 < (0.16 * size) ** 2) & (k > 0)
    images = {
        "ct": np.where(brain, 30.0 + 3 * k, -1000.0),
        "cbf": np.where(brain, 50.0 - 30 * late, 0.0),
        "tmax": np.where(brain, 2.0 + 6 * late, 0.0),
    }
    masks = {"core": np.zeros_like(brain), "hypoperfused": late}
    time = np.arange(45.0)
    curves = {"aif_hu": 300 * np.exp(-(((time - 15) / 4) ** 2)), "vof_hu": 400 * np.exp(-(((time - 22) / 6) ** 2))}
    facts = {"result": RESULT, "record": {"dt_s": 1.0, **curves}, "simulated": True, **more}
    images = {key: image.astype(np.float32) for key, image in images.items()}
    lesion, spread = np.roll(late, 2, 1), np.full(brain.shape, 0.1, np.float32)
    return CaseView("case_1 <i>", images, (2.0, 2.5, 5.0), 0.9 * lesion, spread, lesion, masks=masks, **facts)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    case_page(make_view(), path)
    return path


def browse(page: Path, anchor: str, *more: str) -> str:
    """Return the document as headless Chromium leaves it after its scripts ran."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    words = [*quiet, f"--user-data-dir={page.parent}/profile", "--virtual-time-budget=5000", *more]
    command = [CHROMIUM, *words, "--dump-dom", f"{page.as_uri()}#{anchor}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def shades(dom: str, key: str) -> int:
    return int(re.search(rf'id="stage-{key}".*?data-shades="(\d+)"', dom, re.DOTALL)[1])


def wanted_shades(view: CaseView, key: str, k: int, low: float, high: float) -> int:
    """Count by hand what the page must show: each voxel of the slice in its window, maps black where they are 0."""
    image = view.images[key][:, :, k].astype(float)
    clipped = np.clip(image, *LOOKS[key].span)
    shown = np.rint(255 * np.clip((clipped - low) / (high - low), 0, 1))
    return int(np.where((image == 0) & (key != "ct"), 0, shown).sum())


@pytest.mark.parametrize(("number", "window", "low", "high"), [(1, "brain", 0, 80), (3, "stroke", 20, 50)])
def test_the_browser_draws_the_slice_and_the_window_asked_for(
    page: Path, number: int, window: str, low: float, high: float
) -> None:
    dom, view = browse(page, f"slice={number}&window={window}"), make_view()
    assert f'data-drawn="{number}"' in dom and f"{number} of 3, S {5 * (number - 1)}.0 mm</output>" in dom
    assert shades(dom, "ct") == pytest.approx(wanted_shades(view, "ct", number - 1, low, high), rel=0.01)
    assert shades(dom, "tmax") == pytest.approx(wanted_shades(view, "tmax", number - 1, 0, 12), rel=0.01)
    outlined = re.search(r'data-mask="hypoperfused"[^>]*? d="([^"]*)"', dom)
    assert bool(outlined and outlined[1].startswith("M")) is (number > 1)


def test_moving_the_slider_and_the_boxes_changes_the_picture(page: Path, tmp_path: Path) -> None:
    act = """<script>addEventListener("load", () => {
      const change = (thing, kind) => thing.dispatchEvent(new Event(kind)), find = name => document.querySelector(name);
      find("#slice").value = 0; change(find("#slice"), "input");
      find(".stages").dispatchEvent(new WheelEvent("wheel", {deltaY: 100, cancelable: true}));
      find('input[data-mask="lesion"]').checked = false; change(find('input[data-mask="lesion"]'), "change");
      find("#level").value = 60; change(find("#level"), "change");
    });</script>"""
    acted = tmp_path / "acted.html"
    acted.write_text(page.read_text(encoding="utf-8").replace("</body>", act + "</body>"), encoding="utf-8")
    dom = browse(acted, "slice=3")
    assert 'data-drawn="2"' in dom
    assert not re.search(r'path data-mask="lesion"[^>]*? d="M', dom)
    assert re.search(r'path data-mask="hypoperfused"[^>]*? d="M', dom)
    assert shades(dom, "ct") == pytest.approx(wanted_shades(make_view(), "ct", 1, 20, 100), rel=0.01)


def test_nothing_is_fetched_and_nothing_runs_from_elsewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!data:|#)[a-z/.]""", text.split("<script")[0])
    assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text


def test_numbers_remarks_curves_and_hashes_stand_on_the_page(page: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8").split("<script")[0]))
    for said in ("23.4 ml", "18.2–30.1 ml", "12.1 ml", "60.5 ml", "48.4 ml", "5.00", "met", "Tmax > 4 s", "88.0 ml",
                 "weak-aif", "arterial peak 40 HU <b>", "artery (AIF)", "vein (VOF)", "ab" * 32, "monai_isles",
                 "Research only, not a medical device", "Simulated data", "case_1 <i>", "torch"):  # fmt: skip
        assert said in text, said
    assert text.index("weak-aif") < text.index("plain-ct")
    assert "ZZPATIENT" not in text and "/secret" not in page.read_text(encoding="utf-8")


def test_the_patient_is_shown_only_when_given(tmp_path: Path) -> None:
    case_page(make_view(patient={"Name": "ZZNAME^X <u>"}), tmp_path / "p.html")
    assert "ZZNAME^X &lt;u&gt;" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_without_core_or_maps_of_a_rule_the_page_says_so(tmp_path: Path) -> None:
    block = RESULT["perfusion"] | {"core_ml": 0.0, "mismatch_ratio": None, "defuse3": False, "core_rcbf": 0.345}
    case_page(make_view(result=RESULT | {"perfusion": block, "quality": []}, record={}), tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "CBF below 34.5 % of" in text
    assert "no core" in text and "not met" in text and "No remark on the series" in text and "artery (AIF)" not in text
    case_page(make_view(result={"perfusion": {"not_computed": "x"}}), tmp_path / "q.html")
    assert "Mismatch ratio" not in (tmp_path / "q.html").read_text(encoding="utf-8")


def test_pictures_hold_whole_hu_and_maps_are_black_outside(page: Path) -> None:
    hu = np.arange(-40, 215, dtype=float)
    back = -40 + (levels(hu, LOOKS["ct"]).astype(float) - 1)
    np.testing.assert_allclose(back, hu, atol=1e-9)
    assert levels(np.array([0.0, 1e-6, 20.0, 99.0]), LOOKS["tmax"]).tolist() == [0, 1, 255, 255]
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])
    picture = Image.open(io.BytesIO(base64.b64decode(data["stages"][0]["pictures"][1].split(",")[1])))
    assert picture.size == (data["columns"], data["rows"]) and data["start"] in (1, 2)


def test_large_series_stay_small_and_the_page_says_what_is_left_out() -> None:
    view = make_view(depth=60, size=450)
    data = page_data(view)
    assert len(data["slices"]) == MOST_SLICES and data["slices"][0] == 1 and data["slices"][-1] == 60
    assert "48 of 60 slices are shown" in data["note"] and "every 2. pixel" in data["note"]
    picture = Image.open(io.BytesIO(base64.b64decode(data["stages"][0]["pictures"][0].split(",")[1])))
    assert max(picture.size) <= MOST_PIXELS


def test_the_heading_counts_the_slices_of_a_deep_scan(tmp_path: Path) -> None:
    case_page(make_view(depth=50, size=24), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>48 of 50 slices</h2>" in text and "All slices" not in text


def test_images_of_another_shape_make_no_page() -> None:
    view = make_view()
    images = {**view.images, "cbf": view.images["cbf"][:-1]}
    with pytest.raises(IslesError, match="E-REP-06"):
        CaseView("c", images, (1, 1, 5), None, None, view.lesion, masks=view.masks)


def test_every_slice_is_printed_below_the_viewer(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [f"slice {n} of 3" in text for n in (1, 2, 3)] == [True] * 3
    assert text.index('id="viewer"') < text.index(">Images side by side</h2>") < text.index("<h2>Perfusion</h2>")
    assert "hypoperfused (threshold) outline" in text


def test_the_masks_of_the_thresholds_are_outlined_in_their_colours() -> None:
    (axes, *_) = [a for a in case_montage(make_view(), [1]).figure.axes if a.get_title().startswith("Tmax")]
    drawn = {to_hex(line.get_edgecolor()[0]) for line in axes.collections}
    assert drawn == {MASKS["hypoperfused"][1], palette.PREDICTION}  # the core is empty


def test_the_tiles_state_the_interval_and_the_chance_of_the_first_lesions() -> None:
    chances = [0.97, 0.5, None, 0.314, 0.2, 0.1]
    result = RESULT | {"lesions": [{"volume_ml": 1.0, "confidence": chance} for chance in chances]}
    tiles = perfusion_tiles(result)
    assert tiles["Lesion, 90 % interval"] == "18.2–30.1 ml"
    assert tiles["Confidence by lesion"] == "97%, 50%, 31%, 20%"
    without = perfusion_tiles({"lesion_ml": 1.0, "lesions": [{"volume_ml": 1.0, "confidence": None}]})
    assert list(without) == ["Predicted lesion"]
