"""The rates count what they say: flips that are found, refusals and their tests, runs that came out differently."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from tests.reliability.rate_bits import Flips, _count, flip_rates
from tests.reliability.rate_kills import _curves, _difference, _unreadable
from tests.reliability.rates import error_tests, untested_codes


def test_every_flip_is_found_or_changes_nothing(tmp_path: Path) -> None:
    for seen in flip_rates(tmp_path, flips=120, seed=1):
        assert seen.wrong == [] and seen.total == 120
        assert seen.found + len(seen.ignorable) == 120 and seen.found > 90, seen.text()


def test_a_reader_that_believes_what_it_is_given_is_told_on(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(bytes(range(64)))
    seen = _count("plain", path, path.read_bytes, 20, np.random.default_rng(0))
    assert (seen.total, seen.found, len(seen.wrong)) == (20, 0, 20) and "other content" in seen.wrong[0]
    assert path.read_bytes() == bytes(range(64))

    def fails() -> bytes:
        if path.read_bytes() != bytes(range(64)):
            raise KeyError("x")
        return b""

    assert "KeyError" in _count("plain", path, fails, 3, np.random.default_rng(0)).wrong[0]


def test_ignorable_flips_do_not_count_against_the_rate() -> None:
    assert Flips("a", total=10, found=8, ignorable=[1, 2]).text().startswith("a 8 of 8 (100%), 2 flips")


def test_refusals_and_their_tests_are_counted_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "monai_isles").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "monai_isles/a.py").write_text(
        'def f(x):\n    if x:\n        raise refused("E-A-01", where="", found="")\n'
        '    try:\n        raise ValueError("x")\n    except ValueError:\n        raise\n'
        '    finding("E-A-02", ERROR, where="", found="")\n    finding("E-A-03", WARNING, where="", found="")\n'
    )
    (tmp_path / "tests/test_a.py").write_text(
        'def test_one():\n    refused("E-A-01: w", "E-A-02")\n\ndef test_two():\n    refused(r"E-A-01.*")\n'
        '\ndef helper():\n    "E-A-03"\n'
    )
    assert error_tests(tmp_path) == (3, 3)  # two tests of 01, one of 02; two raises, one error finding
    assert untested_codes(tmp_path) == {"E-A-03": (1, 0)}


def test_this_package_has_at_least_one_error_test_a_refusal() -> None:
    tests, places = error_tests()
    assert places > 400 and tests >= places


def test_another_curve_is_seen_and_the_seconds_are_not(tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder, loss in ((whole, "0.5"), (out, "0.25")):
        folder.mkdir()
        (folder / "curves.csv").write_text(f"epoch,loss,seconds\n1,{loss},{loss}\n")
    assert _curves(whole / "curves.csv") == [{"epoch": "1", "loss": "0.5"}]
    assert _difference(whole, out) == "other curves"


def test_a_cut_output_is_seen_and_an_unfinished_part_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(1000))[:20])
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.html").write_text("<html><body>")
    (tmp_path / ".part-0-d.json").write_text("{")
    assert len(_unreadable(tmp_path)) == 3
