"""Collect the findings of a check and raise them together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from monai_isles.errors import IslesError, refused

ERROR, WARNING = "error", "warning"
_MOST_NAMED = 8
_log = logging.getLogger(__name__)
_remarked: dict[str, set[str]] = {}  # places by code
_collected: ContextVar[tuple[list[Finding], ...]] = ContextVar("collected", default=())
_logged: ContextVar[bool] = ContextVar("logged", default=True)


@dataclass(frozen=True)
class Finding:
    """Hold one fault (``severity`` "error") or remark ("warning") of one ``case``, or of all."""

    code: str
    severity: str
    where: str
    found: str
    fix: str
    fault: str = ""
    case: str = ""


def finding(code: str, severity: str, *, where: str, found: str, **texts: Any) -> Finding:
    """Return the finding of a code; ``texts`` are the other arguments of ``errors.refused``."""
    return replace(as_finding(refused(code, where=where, found=found, **texts)), severity=severity)


def as_finding(error: IslesError) -> Finding:
    """Return an error as a finding of severity "error"."""
    return Finding(error.code, ERROR, error.where, error.found, error.fix, error.fault)


def as_error(item: Finding) -> IslesError:
    """Return a finding as an error."""
    return IslesError(item.code, item.fault, where=item.where, found=item.found, fix=item.fix)


def refuse(findings: Iterable[Finding]) -> None:
    """Raise one error that lists every finding of severity "error"; pass the warnings to ``tell``."""
    errors = []
    for finding in findings:
        if finding.severity == ERROR:
            errors.append(finding)
        else:
            tell(finding)
    if not errors:
        return
    if len(errors) == 1:
        raise as_error(errors[0])
    raise IslesError(
        errors[0].code,
        f"{errors[0].fault}, and {len(errors) - 1} more",
        where=_few(f.where for f in errors),
        found=_few(f"{f.code} {f.fault}: {f.found}" for f in errors),
        fix=_few(f.fix for f in errors),
    )


def _few(texts: Iterable[str]) -> str:
    different = list(dict.fromkeys(texts))
    return "; ".join(different[:_MOST_NAMED]) + (f"; {more} more" if (more := len(different) - _MOST_NAMED) > 0 else "")


def tell(remark: Finding) -> None:
    """Log a remark, the first of its code as a warning, later ones for debugging; pass it to ``collect_remarks``."""
    if _logged.get():
        _log.log(logging.DEBUG if _remarked.get(remark.code) else logging.WARNING, *remark_lines([remark]))
        _remarked.setdefault(remark.code, set()).add(remark.where)
    for remarks in _collected.get():
        if remark not in remarks:
            remarks.append(remark)


def tell_counts() -> None:
    """Log the count of each remark made of several places since the last call; then reset the counts."""
    for code, places in _remarked.items():
        if len(places) > 1:
            _log.warning("%s: %d times in this run; the results of each case hold its own", code, len(places))
    _remarked.clear()


@contextmanager
def collect_remarks(*, log: bool = True) -> Iterator[list[Finding]]:
    """Collect the remarks made inside the block, in this thread, for the result of a case.

    Args:
        log: False keeps them out of the log, if the caller prints them.

    >>> with collect_remarks() as remarks:
    ...     tell(finding("E-LBL-02", WARNING, where="case_1", found="0 lesion voxels"))
    >>> remark_lines(remarks)
    ['E-LBL-02: lesion mask is empty: case_1: 0 lesion voxels']
    """
    remarks: list[Finding] = []
    token, logged = _collected.set((*_collected.get(), remarks)), _logged.set(log and _logged.get())
    try:
        yield remarks
    finally:
        _collected.reset(token)
        _logged.reset(logged)


def remark_lines(remarks: Iterable[Finding]) -> list[str]:
    """Return remarks as ``result.json`` holds them, one sentence each: code, fault, place, finding."""
    return [f"{remark.code}: {remark.fault}: {remark.where}: {remark.found}" for remark in remarks]


@cache
def say_once(message: str) -> None:
    """Log a warning once per process."""
    _log.warning(message)
