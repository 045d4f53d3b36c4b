"""The one error class of the package: four lines that say fault, where, found and fix."""

from __future__ import annotations

EXIT_DONE, EXIT_BUG, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_UNSAFE = 0, 1, 2, 3, 4, 5


class IslesError(Exception):
    """Stop because an input, a setting or the machine does not allow a right result.

    Args:
        code: stable code, ``E-<FAMILY>-<NN>``; ``docs/errors.md`` lists all of them.
        fault: what is wrong, one short clause.
        where: the case, file, key or setting.
        found: what was found there, with numbers.
        fix: what the user can do.

    Source: ours; ``tests/test_errors.py``.
    """

    def __init__(self, code: str, fault: str, *, where: str, found: str, fix: str) -> None:
        super().__init__(f"{code}: {fault}\n  where {where}\n  found {found}\n  fix   {fix}")
        self.code, self.fault, self.where, self.found, self.fix = code, fault, where, found, fix

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.code, self.fault, self.where, self.found, self.fix)

    @property
    def exit_code(self) -> int:
        """Return 2 for usage errors, 5 for unsafe input, 4 for every other refusal."""
        family = self.code.split("-")[1]
        return {"USE": EXIT_USAGE, "SAFE": EXIT_UNSAFE}.get(family, EXIT_REFUSED)


def _rebuild(code: str, fault: str, where: str, found: str, fix: str) -> IslesError:
    return IslesError(code, fault, where=where, found=found, fix=fix)


def find_isles_error(error: BaseException | None) -> IslesError | None:
    """Return the error of ours behind ``error``: MONAI wraps what a transform raises in a RuntimeError."""
    while error is not None and not isinstance(error, IslesError):
        error = error.__cause__ or error.__context__
    return error
