"""An error says fault, where, found and fix in four lines, and stands for one exit code."""

from __future__ import annotations

import pickle

import pytest

from monai_isles.errors import IslesError, arguments_error, find_isles_error


def error(code: str = "E-GEOM-03") -> IslesError:
    return IslesError(code, "not on the same grid", where="case_1", found="40 mm apart", fix="resample")


def test_the_message_has_four_lines() -> None:
    lines = str(error()).splitlines()
    assert lines == ["E-GEOM-03: not on the same grid", "  where case_1", "  found 40 mm apart", "  fix   resample"]


@pytest.mark.parametrize(("code", "expected"), [("E-USE-01", 2), ("E-SAFE-02", 5), ("E-GEOM-03", 4), ("E-LIST-01", 4)])
def test_the_family_decides_the_exit_code(code: str, expected: int) -> None:
    assert error(code).exit_code == expected


def test_an_error_survives_the_way_between_processes() -> None:
    again = pickle.loads(pickle.dumps(error()))
    assert str(again) == str(error()) and again.code == "E-GEOM-03"


def test_our_error_is_found_behind_a_wrapping_one() -> None:
    try:
        try:
            raise error()
        except IslesError as inner:
            raise RuntimeError("applying transform") from inner
    except RuntimeError as outer:
        assert find_isles_error(outer).code == "E-GEOM-03"
    assert find_isles_error(ValueError("other")) is None


def test_the_package_that_a_component_lacks_is_named() -> None:
    made = RuntimeError("Failed to instantiate component 'monai.handlers.MLFlowHandler' with keywords: name")
    made.__cause__ = ModuleNotFoundError("No module named 'mlflow'")
    said = str(arguments_error(made))
    assert said.startswith("E-INF-46: ") and "MLFlowHandler\n  found No module named 'mlflow'\n" in said
    assert "pip install" in said
