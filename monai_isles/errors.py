"""The error class of the package, with four lines: fault, where, found and fix."""

from __future__ import annotations

import re
import tomllib
from functools import cache, partial
from pathlib import Path

EXIT_DONE, EXIT_BUG, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_UNSAFE = 0, 1, 2, 3, 4, 5
_NO_MEMORY = re.compile(
    "can't allocate memory|not enough memory|out of memory|bad_alloc|can't start new thread|"
    "could not create a primitive"
)


_LACKING = {
    "fault": "a component of the bundle's config needs a package that is not installed",
    "fix": "pip install the package that is named (mlflow for --tracking mlflow), or leave the component out",
}


class IslesError(Exception):
    """Report that an input, a setting or the machine does not allow a correct result.

    Args:
        code: stable code, ``E-<FAMILY>-<NN>``; ``docs/errors.md`` lists all of them.
        fault: the fault, one short clause.
        where: the case, file, key or setting.
        found: the value found there, with numbers.
        fix: the repair, one imperative sentence.
    """

    def __init__(self, code: str, fault: str, *, where: str, found: str, fix: str) -> None:
        super().__init__(f"{code}: {fault}\n  where {where}\n  found {found}\n  fix   {fix}")
        self.code, self.fault, self.where, self.found, self.fix = code, fault, where, found, fix

    def __reduce__(self) -> tuple[object, ...]:
        return partial(IslesError, where=self.where, found=self.found, fix=self.fix), (self.code, self.fault)

    @property
    def exit_code(self) -> int:
        """Return 2 for usage errors, 5 for unsafe input, 4 for every other refusal."""
        family = self.code.split("-")[1]
        return {"USE": EXIT_USAGE, "SAFE": EXIT_UNSAFE}.get(family, EXIT_REFUSED)


@cache
def fault_texts() -> dict[str, dict[str, str]]:
    """Return ``faults.toml``: the fault and the fix of every code, with unfilled ``{names}``."""
    return tomllib.loads(Path(__file__).with_name("faults.toml").read_text(encoding="utf-8"))


def refused(
    code: str, *, where: str, found: str, fault: str | None = None, fix: str | None = None, **values: object
) -> IslesError:
    """Return the error of a code, its texts taken from ``faults.toml``.

    Args:
        fault, fix: texts that replace the table's where they depend on the place.
        values: values of the ``{names}`` in the table's texts.

    >>> print(refused("E-CACHE-02", where="--cache-gb", found="0"))
    E-CACHE-02: the limit of the cache is not above 0
      where --cache-gb
      found 0
      fix   give more than 0 GB, or leave the bound out
    """
    texts = fault_texts().get(code, {})
    fault = texts["fault"].format_map(values) if fault is None else fault
    fix = texts["fix"].format_map(values) if fix is None else fix
    return IslesError(code, fault, where=where, found=found, fix=fix)


def find_isles_error(error: BaseException | None) -> IslesError | None:
    """Return the ``IslesError`` behind ``error``: MONAI wraps exceptions of transforms in a RuntimeError."""
    while error is not None and not isinstance(error, IslesError):
        error = error.__cause__ or error.__context__
    return error


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: Python's own, the CPU allocator's or a GPU's."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error))))


def memory_error(error: BaseException | None, where: str) -> IslesError | None:
    """Return an ``IslesError`` if ``error`` means that memory ran out, else None."""
    while error is not None and not out_of_memory(error):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    return refused("E-RUN-41", where=where, found=first_line(error))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def arguments_error(error: BaseException | None) -> IslesError | None:
    """Return an ``IslesError`` if MONAI could not make a component of a config with its arguments, else None."""
    kinds = (TypeError, ValueError, ArithmeticError)
    while error is not None and not isinstance(error, kinds):
        made, error = error, error.__cause__
        if isinstance(error, (*kinds, ImportError)) and str(made).startswith("Failed to instantiate component"):
            lacking = _LACKING if isinstance(error, ImportError) else {}
            return refused("E-INF-46", where=str(made).split("'")[1], found=first_line(error), **lacking)
    return None
