"""Turn a matplotlib figure into a small PNG, or into an SVG in the colour of the page's text."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
TRUTH, PREDICTION, HALO = "#ffffff", "#ff8c1a", "#000000"
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = "#3ddc84", "#e0303a", "#3f7dff"
SERIES = ("#0b84d8", "#d55e00", "#0aa078", "#c25fa0", "#b8860b", "#6f6fd8")
MARKERS = ("o", "s", "^", "D", "v", "P")
MAX_BYTES = 80_000
_PIXELS_PER_IN = 120  # of a drawing on a page: a label of 9 pt is as tall as the text around it


def blank(width_in: float, height_in: float, *, face: str = "none", dpi: int = 100) -> Figure:
    """Return an empty figure outside pyplot's global state. Units: inches."""
    figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor=face)
    FigureCanvasAgg(figure)
    return figure


def plot_axes(
    width_in: float, height_in: float, rows: int = 1, columns: int = 1, *, face: str = "none", **layout: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure, tightly laid out, and its axes with light frames and grid, in reading order. Units: inches."""
    figure = blank(width_in, height_in, face=face)
    figure.set_layout_engine("tight", **{"pad": 0.6, **layout})
    flat: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in flat:
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.spines[["left", "bottom"]].set_alpha(0.5)
        axes.tick_params(colors=INK, labelsize=9, length=3)
        axes.grid(color=INK, alpha=0.12, linewidth=0.8)
        axes.set_axisbelow(True)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set(color=INK, fontsize=9)
    return figure, flat


def pixels(figure: Figure) -> np.ndarray:
    """Return the drawn figure on white, (rows, columns, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba()).astype(np.float32)
    # Without its opacity a light grid would be as black as its ink.
    share = drawn[..., 3:] / 255
    return np.rint(drawn[..., :3] * share + 255 * (1 - share)).astype(np.uint8)


def png_bytes(figure: Figure, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the figure as an indexed PNG with as many colours as fit ``max_bytes``, shrunk when 40 are too many."""
    from PIL import Image

    picture = Image.fromarray(pixels(figure))
    while True:
        for colours in (256, 160, 96, 64, 40):
            buffer = io.BytesIO()
            indexed = picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            indexed.save(buffer, format="PNG", optimize=True)
            if buffer.tell() <= max_bytes:
                return buffer.getvalue()
        if min(picture.size) < 64:
            return buffer.getvalue()
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)


def data_uri(png: bytes) -> str:
    """Return the picture as the text of an ``src`` attribute."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def svg_text(figure: Figure, label: str) -> str:
    """Return the figure as inline SVG: ink in ``currentColor``, text kept as text, ``label`` for screen readers.

    Every id is prefixed, so that several figures live on one page; the same figure gives the same text.
    """
    buffer = io.StringIO()
    prefix = "f" + hashlib.sha256(label.encode()).hexdigest()[:8] + "-"
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    wide, high = (round(_PIXELS_PER_IN * inches) for inches in figure.get_size_inches())
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'width="{wide}" height="{high}"', text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", text)
    text = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1sans-serif", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(label, quote=True)}"', 1)
