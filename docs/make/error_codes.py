"""Write docs/errors.md and the pages beside it: every error code of the package, its fault, fix and exit code."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from monai_isles.errors import fault_texts

DOCS = Path(__file__).resolve().parents[1]
HEAD = """# Error codes

Every refusal prints four lines: the code and the fault, where, what was found, and what to do. `--json` gives the same
as an object, `--debug` the traceback. Exit codes: 0 done, 1 our bug, 2 usage, 3 some cases failed, 4 input refused,
5 unsafe. `{names}` stand for values; a place that can say more than these texts does so.

"""
PAGES = {
    "errors": ("Commands, files and runs", "USE SAFE FILE RUN CACHE COH"),
    "errors_images": ("Images and their preparation", "DIM GEOM GRID VAL LBL STRIP SYM REG PERF TPW AUG PAD"),
    "errors_dicom": ("DICOM, studies and frame times", "DCM SCAN TIME"),
    "errors_data": ("Data sets and cross-validation", "LIST PHAN XVAL"),
    "errors_models": ("Networks, training and prediction", "NET LOSS SAMP TRAIN INF POST"),
    "errors_results": ("Scores, reports and export", "MET CAL CMP EVAL SRCH REP REPR EXP NNU CHAL"),
}
EXITS = {"USE": 2, "SAFE": 5}


def pages() -> dict[str, str]:
    """Return the text of every page by file name."""
    texts = fault_texts()
    rows = [
        _wrap(f"- [{title}]({name}.md): {', '.join(f'`E-{family}`' for family in families.split())}")
        for name, (title, families) in PAGES.items()
    ]
    written = {}
    for name, (title, families) in PAGES.items():
        head = HEAD + "\n".join(rows) + f"\n\n## {title}\n" if name == "errors" else f"# Error codes: {title}\n"
        codes = [code for family in families.split() for code in sorted(texts) if code.split("-")[1] == family]
        entries = [_entry(code, texts[code]) for code in codes]
        written[f"{name}.md"] = "\n".join([head, *entries, ""])
    return written


def _entry(code: str, text: dict[str, str]) -> str:
    words = f"- **{code}** (exit {EXITS.get(code.split('-')[1], 4)}) {text['fault']}. *Fix:* {text['fix']}"
    return _wrap(words.replace("<", "&lt;").replace("{{", "{").replace("}}", "}"))


def _wrap(text: str) -> str:
    return textwrap.fill(text, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    for name, page in pages().items():
        (DOCS / name).write_text(page, encoding="utf-8")
    sys.exit(0)
