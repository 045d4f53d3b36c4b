"""The tools refuse names that the bundle's paper.json does not have, before anything is simulated."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.mark.parametrize(("words", "text"), [
    (["ablation.py", "threshold"], "no ablation"), (["ablation.py", "fusion", "--rows", "none"], "the rows are"),
    (["weights.py", "threshold"], "no weights"), (["weights.py", "clerigues", "--variant", "none"], "--variant"),
])  # fmt: skip
def test_a_name_that_is_not_in_the_paper_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    tool, *rest = words
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(TOOLS / tool))["main"]([*rest, "--out", str(tmp_path / "out")])
    assert text in capsys.readouterr().err and not (tmp_path / "out").exists()
