"""What a check has to say: collected first, raised once, so that a user sees every fault at the same time."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from monai_isles.errors import IslesError, fault_and_fix

ERROR, WARNING = "error", "warning"
_log = logging.getLogger(__name__)
_said: set[str] = set()


@dataclass(frozen=True)
class Finding:
    """One fault (``severity`` "error") or remark ("warning"), in the words of ``IslesError``."""

    code: str
    severity: str
    where: str
    found: str
    fix: str
    fault: str = ""


def finding(
    code: str,
    severity: str,
    *,
    where: str,
    found: str,
    fault: str | None = None,
    fix: str | None = None,
    **values: object,
) -> Finding:
    """Return the finding of a code, its texts taken from ``faults.toml`` as ``errors.refused`` takes them."""
    fault, fix = fault_and_fix(code, fault, fix, values)
    return Finding(code, severity, where, found, fix, fault)


def refuse(findings: Iterable[Finding]) -> None:
    """Raise one error that lists every finding of severity "error"; log the warnings, each once a run.

    Raises:
        IslesError: with the code of the first error.
    """
    errors = []
    for finding in findings:
        if finding.severity == ERROR:
            errors.append(finding)
        else:
            say_once(f"{finding.code}: {finding.fault}: {finding.where}: {finding.found}")
    if not errors:
        return
    first = errors[0]
    if len(errors) == 1:
        raise IslesError(first.code, first.fault, where=first.where, found=first.found, fix=first.fix)
    raise IslesError(
        first.code,
        f"{first.fault}, and {len(errors) - 1} more",
        where="; ".join(dict.fromkeys(f.where for f in errors)),
        found="; ".join(f"{f.code} {f.fault}: {f.found}" for f in errors),
        fix="; ".join(dict.fromkeys(f.fix for f in errors)),
    )


def say_once(message: str) -> None:
    """Log a warning the first time it comes up in this process."""
    if message not in _said:
        _said.add(message)
        _log.warning(message)
