"""Write docs/fidelity.md from ``fidelity`` of every ``paper.json``: ``python docs/make/fidelity.py``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from monai_isles.bundle.bundle import Bundle
from monai_isles.io.publish import publish_text
from monai_isles.papers.published import papers

PAGE = Path(__file__).parents[1] / "fidelity.md"
_HEAD = """# Fidelity: how the code follows the papers

Each item holds a statement of the paper in bold, the file that follows it, the settings in brackets, and our reading
where the paper leaves a choice. `python docs/make/fidelity.py` writes this page from `fidelity` of each `paper.json`. A
test checks that every file exists and that every setting is the config's default.
"""


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name, folder in papers().items():
        paper = Bundle(folder).paper
        parts += [f"## {paper['title']}", f"doi:{paper['doi']}, `bundles/{name}`\n"]
        parts += [_item(statement) for statement in paper["fidelity"]] + [""]
    return "\n".join(parts)


def _item(statement: dict[str, Any]) -> str:
    ids = [f"`{key}` {value}" for values in statement.get("ids", {}).values() for key, value in values.items()]
    settings = f" ({', '.join(dict.fromkeys(ids))})" if ids else ""
    reading = statement.get("reading", "as in the paper")
    text = f"**{statement['statement']}**: `{statement['where']}`{settings}. {reading[0].upper()}{reading[1:]}."
    return textwrap.fill(text, 118, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


if __name__ == "__main__":
    publish_text(PAGE, page())
