"""Hold the preprocessed cases of a training; leave out and name those that cannot be read or prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

from torch.utils.data import Dataset

from monai_isles.data.datalist import read_datalist
from monai_isles.data.entries import tell_left_out
from monai_isles.errors import find_isles_error
from monai_isles.io.findings import Finding, as_finding, refuse, remark_lines
from monai_isles.progress import progress

Item = Mapping[str, Any]
Kept = TypeVar("Kept")
OF_THE_MACHINE = ("E-CACHE-", "E-FILE-10", "E-RUN-")


class CachedCases(Dataset):
    """Hold the preprocessed cases of a section in memory, without those that cannot be read or prepared.

    ``left_out`` gives the reason for each of these, and a warning names it; those that ``data`` left out come first.

    Args:
        data: one entry per case, as from ``monai_isles.data.load_entries``; where that was strict, faults are
            raised.
        transform: deterministic, from an entry to the case.
    Raises: the faults of the cases, when none is left.

    >>> cases = CachedCases([{"case": "case_01"}], lambda entry: {**entry, "image": torch.zeros(1, 4, 4, 1)})
    >>> len(cases), cases.left_out
    (1, [])
    """

    def __init__(self, data: Sequence[Item], transform: Callable[[Item], Item]) -> None:
        self.left_out = left_out_findings(data)
        with ThreadPool() as threads:
            prepared = threads.imap(lambda entry: _or_fault(entry, transform, entry), data)
            made = list(progress(prepared, "preparing cases", total=len(data)))
        self.data = _without_faults(made, self.left_out, strict=_attribute_of(data, "strict", False))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        return self.data[index]


def collect_cases(
    dataset: Sequence[Item], keep: Callable[[Item, int], Kept], *, title: str
) -> tuple[list[Kept], list[Finding]]:
    """Return the data that a loader keeps of each case, and the reasons for cases left out, ``dataset``'s own first."""
    made: list[Kept | Finding] = []
    entries: Any = getattr(dataset, "data", None)  # each holds the case's name even if the case cannot be read
    for place in progress(range(len(dataset)), title):
        # a case's number seeds its centres: count usable cases only, so that a left-out case changes nothing
        number = 1 + sum(not isinstance(item, Finding) for item in made)
        entry = {} if entries is None else entries[place]
        made.append(_or_fault(entry, lambda at, n: keep(dataset[at], n), place, number))
    own: list[Finding] = []
    kept = _without_faults(made, own, strict=_attribute_of(dataset, "strict", False))
    return kept, [*left_out_findings(dataset), *own]


def left_out_findings(dataset: object) -> list[Finding]:
    """Return the reasons for which a data set, or the one below it, left out cases."""
    return list(_attribute_of(dataset, "left_out", ()))


def _attribute_of(dataset: object, name: str, default: Any) -> Any:
    """Return an attribute of a data set, or of the one below it."""
    # MONAI's data sets wrap each other; each holds the inner one as ``data``
    while dataset is not None:
        if hasattr(dataset, name):
            return getattr(dataset, name)
        dataset = getattr(dataset, "data", None)
    return default


def left_out_reasons(folder: Path, sources: Iterable[object]) -> dict[str, str]:
    """Return why a training left out cases, by name: from its data list, and from loaders or data sets."""
    listed = folder / "data_list.json"
    faults = read_datalist(listed).get("left_out", []) if listed.is_file() else []
    result = [Finding(**fault) for fault in faults]
    result += [fault for source in sources for fault in left_out_findings(source)]
    return {fault.case or fault.where: remark_lines([fault])[0] for fault in result}


def _or_fault(entry: Item, make: Callable[..., Kept], *about: object) -> Kept | Finding:
    """Return ``make(*about)``, or the fault of the case; bugs, a full disk and a lack of memory are raised."""
    try:
        return make(*about)
    except Exception as error:
        ours = find_isles_error(error)
        # a full disk or a lack of memory would leave out every case that follows
        if ours is None or ours.code.startswith(OF_THE_MACHINE):
            raise
        fault = as_finding(ours)
        return replace(fault, case=str(entry.get("case", fault.where)))


def _without_faults(made: Sequence[Kept | Finding], left_out: list[Finding], *, strict: bool) -> list[Kept]:
    kept = [item for item in made if not isinstance(item, Finding)]
    own = [item for item in made if isinstance(item, Finding)]
    left_out += own
    if not kept or (strict and own):
        refuse(left_out)
    tell_left_out(own)
    return kept
