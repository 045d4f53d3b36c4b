"""Every option that a fix names exists on the verb that it names, or on every verb that prints it."""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.cli.main import VERBS, build_parser
from monai_isles.errors import fault_texts
from monai_isles.papers import reproduce
from monai_isles.papers.published import papers

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "monai_isles"
OPTION = re.compile(r"--[a-z][a-z_-]*")
NAMED = re.compile(r"\b(" + "|".join(sorted(VERBS, key=len, reverse=True)) + r")\b")
FOREIGN = {"--standalone", "--nproc_per_node", "--host"}  # torchrun's and Dask's
SPREAD = {"predict", "predict-series", "prepare", "perfusion", "evaluate", "crossval", "phantom"}
PREDICT = {"predict", "predict-series"}
PRINTED_BY = {
    "bundle": {"predict", "predict-series", "prepare", "crossval"}, "cohort": SPREAD, "crossval": {"crossval"},
    "data/datalist.py": {"datalist"}, "data/layouts.py": {"datalist"},
    "data/scans.py": {"perfusion", "predict-series"}, "data/entries.py": {"predict"}, "evaluation": {"evaluate"},
    "data/remote.py": {"predict", "prepare", "evaluate", "crossval"}, "export": {"export"}, "inference": PREDICT,
    "cli/options.py": {"perfusion", "predict-series"}, "training/distributed.py": {*PREDICT, "perfusion"},
    "bundle/bundle.py E-USE-70": {"check"},
    "dicom": {"perfusion", "predict-series"}, "dicom/stack.py E-DCM-65": {"perfusion"},
    "bundle/bundle.py E-XVAL-03": {"crossval"}, "data/checks.py E-DCM-04": {"predict-series"},
}  # fmt: skip


def options_of(verb: str) -> set[str]:
    """Return the options that the help of a verb shows."""
    parser = build_parser(verb)
    (verbs,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    shown = [one for one in verbs.choices[verb]._actions if one.help != argparse.SUPPRESS]
    return {word for action in shown for word in action.option_strings}


def paper_options() -> set[str]:
    """Return the options of the papers together."""
    found: set[str] = set()
    for folder in papers().values():
        paper, parser = Bundle(folder).paper, argparse.ArgumentParser()
        reproduce._arguments(parser, paper)
        reproduce._module(paper).arguments(parser, paper)
        found |= set(parser._option_string_actions)
    return found


def fixes() -> list[tuple[str, str, str]]:
    """Return code, file and fix wherever a fix names an option: of the table, or in place of the table's."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
        found += [(code, name, one["fix"]) for code, one in fault_texts().items() if f'"{code}"' in text]
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            for keyword in (one for one in call.keywords if one.arg == "fix"):
                found += [("", name, part.value) for part in ast.walk(keyword.value)
                          if isinstance(part, ast.Constant) and isinstance(part.value, str)]  # fmt: skip
    return [one for one in found if OPTION.search(one[2])]


def lacking(code: str, file: str, fix: str) -> list[str]:
    """Return what of a fix does not exist, as ``verb --option``."""
    room, missing = file.split("/")[0], []
    for match in OPTION.finditer(fix):
        option, before = match.group().rstrip("-"), fix[: match.start()]
        if option in FOREIGN:
            continue
        if room == "papers":
            missing += [] if option in paper_options() else [f"reproduce {option}"]
            continue
        if room in ("training", "sampling") and file not in PRINTED_BY:
            missing += [] if option.removeprefix("--") in TRAIN else [f"training {option}"]
            continue
        named = NAMED.findall(before)
        own = {Path(file).stem.replace("_", "-")} & set(VERBS) if room in ("cli", "workflows") else None
        table = PRINTED_BY.get(f"{file} {code}") or PRINTED_BY.get(file) or own or PRINTED_BY.get(room)
        verbs = {named[-1]} if named else table
        assert verbs, f"{code} of {file} names {option}: name its verb, or state in PRINTED_BY who prints it"
        missing += [f"{verb} {option}" for verb in sorted(verbs) if option not in options_of(verb)]
    return missing


TRAIN = json.loads((ROOT / "bundles/clerigues/train.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("code", "file", "fix"), fixes(), ids=lambda value: str(value)[:40])
def test_every_option_of_a_fix_exists_where_it_is_printed(code: str, file: str, fix: str) -> None:
    assert lacking(code, file, fix) == []


def test_an_option_that_a_verb_lacks_is_found() -> None:
    assert lacking("E-X-1", "evaluation/pairs.py", "add --resample") == ["evaluate --resample"]
    assert lacking("E-X-1", "io/grid.py", "say so: predict --resample, or datalist --sample") == ["datalist --sample"]
    with pytest.raises(AssertionError, match="name its verb"):
        lacking("E-X-1", "io/grid.py", "add --resample")
