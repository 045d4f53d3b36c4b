"""The command line: verbs, exit codes, errors on standard error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monai_isles.cli.main import VERBS, build_parser, main
from monai_isles.cli.options import ADVANCED


def test_version_says_research_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert "Research only, not a medical device" in capsys.readouterr().out


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_the_help_of_predict_is_short_and_help_all_shows_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for word in ("--help", "--help-all"):
        assert main(["predict", word]) == 0
        shown[word] = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert len(shown["--help"]) == 21 and {"--weights", "--fast", "--resample", "--help-all"} <= shown["--help"]
    assert shown["--help-all"] - shown["--help"] == ADVANCED and shown["--help"] < shown["--help-all"]


def test_an_option_that_the_short_help_leaves_out_works() -> None:
    words = ["predict", "case_1", "--bundle", "clerigues", "--out", "out", "--cache", "kept", "--section", "test"]
    args = build_parser("predict", whole=False).parse_args(words)
    assert (args.cache, args.section, args.mc_passes) == (Path("kept"), "test", None)


@pytest.mark.parametrize("words", [[], ["no-such-verb"], ["predict"], ["evaluate", "--pred"], ["check", ""]])
def test_wrong_usage_exits_with_two(words: list[str]) -> None:
    assert main(words) == 2


def test_an_unknown_option_shows_the_usage_of_the_verb_and_the_nearest_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", "case", "--bundle", "unet", "--out", "o", "--fats"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("usage: monai-isles predict ") and "arguments: --fats; did you mean --fast?" in shown


def test_a_refused_input_prints_four_lines_and_exits_with_four(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "monai_isles.cli.main",
        "datalist",
        str(tmp_path),
        "--out",
        str(tmp_path / "l.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4 and done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("E-LIST-01: ") and [line[:8] for line in rest] == ["  where ", "  found ", "  fix   "]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_standard_output_is_told(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["bundles"]) == 4
    said = capsys.readouterr().err
    assert said.startswith("E-FILE-10: file cannot be written\n  where standard output") and len(said.splitlines()) == 4


def test_a_closed_standard_output_does_not_end_a_command() -> None:
    command = f"{sys.executable} -m monai_isles.cli.main bundles <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == 0


def test_json_gives_the_error_as_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datalist", str(tmp_path), "--out", str(tmp_path / "l.json"), "--json"]) == 4
    assert json.loads(capsys.readouterr().err)["error"] == "E-LIST-01"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_a_console_of_any_encoding_shows_names_in_any_script(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "患者 ё"
    folder.mkdir()
    (folder / "a_dwi.nii").write_bytes(b"no image")
    words = [sys.executable, "-m", "monai_isles.cli.main", "check", str(folder)]
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(words, capture_output=True, env=env, timeout=120)
    assert done.returncode == 4 and b"\\u60a3\\u8005 \\u0451" in done.stdout and b"E-FILE-03" in done.stdout
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--cluster", "tcp://host:1"], ["--slurm", "profile.yml"]])
def test_a_zipped_bundle_is_not_sent_to_other_machines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "case_1", "--bundle", "shared/mine.ZIP", "--out", "out", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("E-USE-82: ") and said.count("\n") == 4
    assert "shared/mine.ZIP" in said and "--unpack" in said


def test_workers_print_no_notes_of_their_scheduler(tmp_path: Path) -> None:
    words = ["phantom", "--out", str(tmp_path / "data"), "--cases", "2", "--max-slices", "2", "--no-series"]
    command = [sys.executable, "-m", "monai_isles.cli.main", *words, "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "INFO" not in done.stderr + done.stdout and "2 simulated scans" in done.stdout
