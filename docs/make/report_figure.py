"""Photograph the scanner page of a simulated scan: DICOM written, ``predict-series`` run, Chromium opened.

``python docs/make/report_figure.py --out docs/figures/scanner_report.png``; ``--page PAGE`` takes a page that is there:
that of studies, of a cohort, or one with NiiVue.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from monai_isles.cli.main import main as monai_isles
from monai_isles.io.publish import publish
from monai_isles.phantom import make_case
from monai_isles.phantom.dicom_writer import write_dicom

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--hide-scrollbars",
)
_MOST_BYTES = 400_000


def main(argv: Sequence[str] | None = None) -> int:
    """Make the scan, predict it, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="docs/figures/scanner_report.png")
    parser.add_argument("--bundle", default="bundles/clerigues")
    parser.add_argument("--case", type=int, default=8, help="number of the simulated scan (default: 8)")
    parser.add_argument("--seed", type=int, default=4242, help="of the phantom; not the one of the training data")
    parser.add_argument("--step", type=int, default=8, help="voxels between windows (default: 8)")
    parser.add_argument("--window", default="stroke", help="CT window (default: stroke)")
    parser.add_argument("--page", type=Path, help="photograph this page; nothing is simulated")
    parser.add_argument("--height", type=int, default=1580, help="of the picture, in pixels (default: 1580)")
    args = parser.parse_args(argv)
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        parser.error("Chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        if args.page is not None:
            return _publish(_photograph(browser, Path(folder), args.page.resolve(), args.window, args.height), args.out)
        source = write_dicom(make_case(args.case, seed=args.seed), Path(folder) / f"case_{args.case}")
        words = ["--bundle", args.bundle, "--out", f"{folder}/out", "--step", str(args.step), "--threads", "1"]
        done = monai_isles(["predict-series", str(source), *words])
        if done:
            return done
        page = Path(folder) / "out" / source.name / "report.html"
        return _publish(_photograph(browser, Path(folder), page, args.window, args.height), args.out)


def _publish(picture: bytes, out: str) -> int:
    publish(out, lambda tmp: tmp.write_bytes(picture))
    print(f"{out}: {len(picture)} bytes")
    return 0


def _photograph(browser: str, aside: Path, page: Path, window: str, height: int) -> bytes:
    """Return the picture of the page, in as many colours as fit the limit."""
    from PIL import Image

    shot = aside / "shot.png"
    size = ("--virtual-time-budget=8000", f"--window-size=1240,{height}", f"--user-data-dir={aside}/profile")
    command = [browser, *_QUIET, *size, f"--screenshot={shot}", f"{page.as_uri()}#window={window}"]
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    with Image.open(shot) as picture:
        plain = picture.convert("RGB")
    for colours in (256, 160, 96, 64):
        buffer = io.BytesIO()
        plain.quantize(colours, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= _MOST_BYTES:
            break
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
