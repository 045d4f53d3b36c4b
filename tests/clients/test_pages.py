"""Every page in headless Chromium, from ``file://``: no script error, no violation that axe-core finds, 400 px."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.phantom import make_case as simulate_case
from monai_isles.phantom.ct.subject import protocol_of
from monai_isles.phantom.dicom_writer import write_dicom
from monai_isles.reports.page import case_page, cohort_page
from tests.reports.conftest import make_case
from tests.reports.test_page import cohort
from tests.reports.test_studies import write_run
from tests.reports.test_viewer import CHROMIUM, make_view

PAGES = ("case", "niivue", "cohort", "studies")
WATCH = """<script>const note = (key, value) => { document.documentElement.dataset[key] = value; };
const fault = event => note("fault", event.message || event.reason);
addEventListener("error", fault); addEventListener("unhandledrejection", fault);
</script>"""
AXE = """<script>
const short = one => [one.id, one.impact, one.nodes[0].html.slice(0, 90)];
const judge = () => axe.run().then(found => note("axe", JSON.stringify(found.violations.map(short))));
addEventListener("load", () => setTimeout(judge, 200));
</script>"""
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the text of each page."""
    out = tmp_path_factory.mktemp("pages")
    case_page(make_view(), out / "case.html")
    case_page(make_view(), out / "niivue.html", viewer="niivue")
    cohort_page(cohort([make_case(f"case_{n}", seed=n) for n in (1, 2)]), out / "cohort.html")
    write_run(out)
    return {name: (out / f"{name}.html").read_text(encoding="utf-8") for name in PAGES}


@pytest.fixture
def visit(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return ``visit(text, *flags)``: the ``data-*`` of the document after its scripts, what they threw among them."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def run(text: str, *flags: str) -> dict[str, str]:
        path = tmp_path / "page.html"
        path.write_text(text.replace("<head>", f"<head>{WATCH}", 1), encoding="utf-8")
        quiet = ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        quiet += ["--disable-background-networking", f"--user-data-dir={tmp_path}/profile", "--window-size=1240,1600"]
        words = [str(CHROMIUM), *quiet, "--virtual-time-budget=30000", *flags, "--dump-dom", path.as_uri()]
        dom = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
        root = re.search(r"<html[^>]*>", dom)
        assert root is not None
        return {key: html.unescape(value) for key, value in re.findall(r'data-([a-z]+)="([^"]*)"', root[0])}

    return run


def at_end(text: str, script: str) -> str:
    """Return the page with a script behind its own; NiiVue holds the end tag as a text."""
    before, tag, after = text.rpartition("</body>")
    return before + script + tag + after


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_no_script_throws(
    name: str, scheme: str, pages: dict[str, str], visit: Callable[..., dict[str, str]], record: Callable[..., None]
) -> None:
    root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True) if shutil.which("npm") else None
    folder = Path(root.stdout.strip() if root else "") / "axe-core"
    if not (folder / "axe.min.js").is_file():
        pytest.skip("axe-core is not installed (npm install -g axe-core)")
    axe = (folder / "axe.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    text = at_end(pages[name], f"<script>{axe}</script>{AXE}")
    found = visit(text, f"--blink-settings=preferredColorScheme={int(scheme == 'light')}")
    assert "fault" not in found and json.loads(found["axe"]) == []
    version = json.loads((folder / "package.json").read_text())["version"]
    record("axe-core", version, f"page {name} in Chromium, {scheme}", "no violation, no script error")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_400_px(name: str, pages: dict[str, str], visit: Callable[..., dict[str, str]]) -> None:
    """Wide tables and pictures scroll by themselves; the page does not."""
    frame = f'<iframe style="width: 400px; height: 3000px" srcdoc="{html.escape(pages[name])}"></iframe>'
    tell = "const inner = frames[0].document.documentElement;"
    tell += 'note("wide", inner.scrollWidth); note("seen", inner.clientWidth)'
    text = (
        f'<html><head></head><body>{frame}<script>addEventListener("load", () => {{ {tell} }});</script></body></html>'
    )
    found = visit(text)
    assert "fault" not in found and int(found["wide"]) <= int(found["seen"]) <= 400


def test_the_pointer_reads_values_and_the_wheel_leaves_the_viewer_at_the_last_slice(
    pages: dict[str, str], visit: Callable[..., dict[str, str]]
) -> None:
    """Voxel (14, 24) of the middle slice: CT 33 HU, CBF 20, Tmax 8 s, at (28, 60, 5) mm; the last slice has CT 36."""
    data = json.loads(re.search(r'id="data">(.*?)</script>', pages["case"], re.DOTALL)[1])
    column, row = np.linalg.solve(np.array(data["affine"]), [28.0, 60.0, 5.0, 1.0])[:2]
    act = """<script>addEventListener("load", async () => {
      const wait = () => new Promise(done => setTimeout(done, 300)), viewer = document.getElementById("viewer");
      const screen = viewer.querySelector(".screen"), box = screen.getBoundingClientRect();
      const across = box.width * (COLUMN + 0.5) / COLUMNS, down = box.height * (ROW + 0.5) / ROWS;
      const at = {clientX: box.left + across, clientY: box.top + down};
      const said = one => one.id + " " + one.querySelector(".value").textContent;
      const read = () => [...viewer.querySelectorAll(".stage")].map(said);
      const wheel = () => {
        const turn = new WheelEvent("wheel", {deltaY: 100, cancelable: true});
        viewer.querySelector(".stages").dispatchEvent(turn);
        return turn.defaultPrevented;
      };
      location.hash = "slice=2"; await wait();
      screen.dispatchEvent(new PointerEvent("pointermove", at)); await wait();
      note("read", read().join()); note("point", document.getElementById("point").textContent);
      note("turned", [wheel(), wheel()].join()); await wait();
      note("drawn", viewer.dataset.drawn); note("last", read()[0]);
      screen.dispatchEvent(new PointerEvent("pointerleave")); note("left", read()[0]);
      viewer.dispatchEvent(new KeyboardEvent("keydown", {key: "PageDown"})); await wait();
      note("first", viewer.dataset.drawn);
    });</script>"""
    for name, value in (("COLUMNS", data["columns"]), ("ROWS", data["rows"]), ("COLUMN", column), ("ROW", row)):
        act = re.sub(rf"\b{name}\b", f"{value:g}", act)
    found = visit(at_end(pages["case"], act))
    read = dict(one.removeprefix("stage-").split() for one in found["read"].split(","))
    assert "fault" not in found and found["point"] == "R 28.0 mm, A 60.0 mm, S 5.0 mm"
    assert read["ct"] == "33" and float(read["cbf"]) == pytest.approx(20, abs=0.3)
    assert float(read["tmax"]) == pytest.approx(8, abs=0.1)
    assert found["turned"] == "true,false" and found["drawn"] == "3" and found["last"] == "stage-ct 36"
    assert found["left"].strip() == "stage-ct" and found["first"] == "1"


@pytest.fixture(scope="module")
def study_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the page of a simulated study of 16 slices, as ``predict-series`` writes it."""
    folder = tmp_path_factory.mktemp("study")
    seed = next(seed for seed in range(1000) if protocol_of(0, seed=seed).slices >= 16)
    source = write_dicom(simulate_case(1, seed=seed, max_slices=16), folder / "dicom")
    assert main(["predict-series", str(source), "--bundle", "threshold", "--out", str(folder / "out")]) == 0
    (page,) = (folder / "out").rglob("report.html")
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["case", "study"])
def test_a_page_is_printed_on_two_sheets(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    text = request.getfixturevalue("study_page") if name == "study" else request.getfixturevalue("pages")["case"]
    page, sheets = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(text, encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    words = [str(CHROMIUM), *quiet, f"--print-to-pdf={sheets}", page.as_uri()]
    subprocess.run(words, capture_output=True, check=True, timeout=300)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", sheets.read_bytes())) <= 2
