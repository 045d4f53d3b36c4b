"""A logging.conf is read by MONAI and evaluated by Python: only literals pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.bundle.configs import logging_findings

HARMLESS = """[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=full
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
args=(sys.stdout,)
formatter=full
[formatter_full]
format=%(asctime)s - %(message)s
"""


def judge(tmp_path: Path, text: str) -> list:
    (tmp_path / "logging.conf").write_text(text)
    return logging_findings(tmp_path / "logging.conf")


def test_the_usual_file_passes(tmp_path: Path) -> None:
    assert judge(tmp_path, HARMLESS) == []
    assert (
        judge(tmp_path, HARMLESS.replace("StreamHandler", "FileHandler").replace("(sys.stdout,)", "('a.log', 'w')"))
        == []
    )


@pytest.mark.parametrize(
    "line",
    [
        "args=(__import__('os').system('id'),)",
        "args=(open('/tmp/x', 'w'),)",
        "class=os.system",
        "class=logging.handlers.SocketHandler",
        "args=(sys.stdout.write('x'),)",
        "kwargs={'stream': open('x')}",
        "args=(",
        "args=exit()",
    ],
)
def test_anything_that_would_run_is_refused(tmp_path: Path, line: str) -> None:
    text = HARMLESS.replace(
        "[handler_console]\n", "[handler_console]\n" + ("" if line.split("=")[0] in ("class", "args") else line + "\n")
    )
    name = line.split("=")[0]
    text = (
        text.replace("class=StreamHandler", line)
        if name == "class"
        else text.replace("args=(sys.stdout,)", line)
        if name == "args"
        else text
    )
    (finding,) = judge(tmp_path, text)
    assert (
        finding.code == "E-SAFE-09"
        and "[handler_console]" in finding.where
        and finding.fault == "logging.conf would run code"
    )


def test_defaults_are_judged_too(tmp_path: Path) -> None:
    assert {
        f.code for f in judge(tmp_path, "[DEFAULT]\nargs=exit()\n" + HARMLESS.replace("args=(sys.stdout,)\n", ""))
    } == {"E-SAFE-09"}


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    assert [f.code for f in judge(tmp_path, "no section")] == ["E-FILE-19"]
