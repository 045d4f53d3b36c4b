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


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: Python's own, the processor allocator's or a GPU's."""
    if isinstance(error, MemoryError):
        return True
    words = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "bad_alloc",
        "can't start new thread",
        "could not create a primitive",
    )
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def memory_error(error: BaseException | None, where: str) -> IslesError | None:
    """Return the error of ours for memory that ran out, where that is behind ``error``; None where it is not."""
    while error is not None and not out_of_memory(error):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    return IslesError(
        "E-RUN-41",
        "memory ran out",
        where=where,
        found=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
        fix="end other programs, take fewer workers or smaller images, or use a machine with more memory",
    )
