"""Make the whole data set: plan the scans, simulate subject by subject, publish the folder when it is whole."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from monai_isles import __version__
from monai_isles.errors import IslesError
from monai_isles.phantom.atlas import load_atlas
from monai_isles.phantom.facts import protocol_of
from monai_isles.phantom.layout import write_case, write_truth
from monai_isles.phantom.scan import CaseArrays, scan_slab
from monai_isles.phantom.subject import make_patient
from monai_isles.progress import progress

PHANTOM_VERSION = 1
RECORD = "SIMULATED.txt"
MOST_SLICES = 22
_TEST_SUBJECTS = 1_000_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """Name one scan before it is made: ``case_<number>`` is scan ``slab`` of subject ``index``."""

    section: str
    number: int
    index: int
    slab: int

    @property
    def subject(self) -> str:
        """Return the subject's name, unique over both sections."""
        return (
            f"test_{self.index - _TEST_SUBJECTS + 1:03d}"
            if self.section == "TESTING"
            else f"subject_{self.index + 1:03d}"
        )


def plan(cases: int, *, seed: int, section: str = "TRAINING", max_slices: int = MOST_SLICES) -> list[Planned]:
    """Return the first ``cases`` scans of the endless list that ``seed`` stands for, taller scans left out."""
    planned: list[Planned] = []
    index = _TEST_SUBJECTS if section == "TESTING" else 0
    while len(planned) < cases:
        protocol = protocol_of(index, seed=seed)
        for slab in range(protocol.slabs if protocol.slices <= max_slices else 0):
            planned.append(Planned(section, len(planned) + 1, index, slab))
        index += 1
    return planned[:cases]


def make_case(number: int, *, seed: int, section: str = "TRAINING", max_slices: int = MOST_SLICES) -> CaseArrays:
    """Simulate ``case_<number>`` of the data set ``seed`` in memory, the same arrays as ``make_dataset`` writes."""
    wanted = plan(number, seed=seed, section=section, max_slices=max_slices)[-1]
    with _OneThread():
        return scan_slab(make_patient(wanted.index, seed=seed), wanted.slab, seed=seed)


def make_dataset(
    out: Path | str,
    *,
    cases: int,
    seed: int,
    series: bool = True,
    workers: int = 1,
    test_cases: int = 0,
    max_slices: int = MOST_SLICES,
) -> Path:
    """Write ``cases`` simulated scans in the ISLES 2018 layout; the folder appears when it is whole.

    Args:
        out: folder to make; returned as it is when it holds this very phantom already.
        seed: decides every bit; ``case_k`` is the same whatever ``cases``, ``workers`` and ``series`` are.
        series: write the contrast series too (most of the bytes).
        workers: processes.
        test_cases: scans of other subjects in ``TESTING``, without lesion and DWI.
        max_slices: leave subjects with taller scans out; 2 or 4 makes a small data set.

    Raises:
        IslesError: ``E-PHAN-01`` no atlas, ``E-PHAN-02`` impossible numbers, ``E-PHAN-03`` folder is something else,
            ``E-PHAN-05`` the folder cannot be made.

    Source: ours; ``tests/phantom/test_dataset.py``.
    """
    out = Path(out)
    record = _record(cases=cases, seed=seed, series=series, test_cases=test_cases, max_slices=max_slices)
    _require_numbers(cases=cases, workers=workers, test_cases=test_cases, seed=seed, max_slices=max_slices)
    if _holds_same(out, record):
        _LOG.info("phantom %s is there already", out)
        return out
    load_atlas()
    planned = plan(cases, seed=seed, max_slices=max_slices)
    planned += plan(test_cases, seed=seed, section="TESTING", max_slices=max_slices)
    aside = _make_aside(out)
    try:
        _fill(aside, planned, seed=seed, series=series, workers=workers)
        (aside / RECORD).write_text(record, encoding="utf-8")
        if not _holds_same(out, record):
            os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out


def dataset_or_phantom(
    dataset_dir: str | None,
    *,
    folder: str,
    cases: int,
    seed: int,
    series: bool = False,
    max_slices: int = MOST_SLICES,
) -> Path:
    """Return the data folder to use: the given one, else ``$ISLES2018_DIR``, else a phantom made in ``folder``.

    Raises:
        IslesError: ``E-PHAN-04`` when a named folder does not exist; those of ``make_dataset``.
    """
    named = dataset_dir or os.environ.get("ISLES2018_DIR", "")
    if not named:
        _LOG.info("no data set named: using the simulated one in %s (%d cases, seed %d)", folder, cases, seed)
        return make_dataset(folder, cases=cases, seed=seed, series=series, max_slices=max_slices)
    if not Path(named).is_dir():
        raise IslesError(
            "E-PHAN-04",
            "the data folder does not exist",
            where="dataset_dir" if dataset_dir else "environment variable ISLES2018_DIR",
            found=str(named),
            fix="give the folder that holds TRAINING/, or leave it empty to train on the phantom",
        )
    return Path(named)


def _record(*, cases: int, seed: int, series: bool, test_cases: int, max_slices: int) -> str:
    lines = [
        "SIMULATED: no patient, no scanner. Every image here was computed from a physical model.",
        f"made by monai_isles {__version__}, phantom version {PHANTOM_VERSION}",
        f"seed {seed}",
        f"cases {cases}",
        f"test_cases {test_cases}",
        f"series {'yes' if series else 'no'}",
        f"max_slices {max_slices}",
        "anatomy: MNI152 2009a tissue maps (Copyright 1993-2004 Louis Collins, McConnell Brain Imaging Centre)",
        "research only, not a medical device",
    ]
    return "\n".join(lines) + "\n"


def _holds_same(out: Path, record: str) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = (out / RECORD).read_text(encoding="utf-8") if (out / RECORD).is_file() else ""
    if found != record:
        what = (
            "a phantom with other settings: " + ", ".join(found.splitlines()[1:7])
            if found
            else "something that is not a phantom"
        )
        raise IslesError(
            "E-PHAN-03",
            "the folder is taken",
            where=str(out),
            found=what,
            fix="choose another folder, or remove this one yourself",
        )
    return True


def _require_numbers(**numbers: int) -> None:
    least = {"cases": 1, "workers": 1, "test_cases": 0, "seed": 0, "max_slices": 2}
    if any(numbers[name] < low for name, low in least.items()):
        raise IslesError(
            "E-PHAN-02",
            "these numbers make no data set",
            where="phantom",
            found=", ".join(f"{name} {value}" for name, value in numbers.items()),
            fix="ask for at least 1 case, 1 worker and 2 slices, and a seed of 0 or more",
        )


def _make_aside(out: Path) -> Path:
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f".part-*-{out.name}"):
            pid = old.name.split("-")[1]
            if pid == str(os.getpid()) or (pid.isdigit() and not _alive(int(pid))):
                shutil.rmtree(old)
        aside = parent / f".part-{os.getpid()}-{out.name}"
        aside.mkdir()
    except OSError as error:
        raise IslesError(
            "E-PHAN-05",
            "the folder cannot be made",
            where=str(out),
            found=f"{type(error).__name__}: {error.strerror}",
            fix="choose a folder on a disk you may write to",
        ) from error
    return aside


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fill(folder: Path, planned: list[Planned], *, seed: int, series: bool, workers: int) -> None:
    groups: dict[int, list[Planned]] = {}
    for one in planned:
        groups.setdefault(one.index, []).append(one)
    jobs = [(folder, group, seed, series) for group in groups.values()]
    if workers == 1:
        for job in progress(jobs, "phantom", unit="subject"):
            _one_subject(job)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in progress(pool.map(_one_subject, jobs), "phantom", total=len(jobs), unit="subject"):
                pass
    with (folder / "subjects.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows(
            [("case", "subject", "section"), *((f"case_{p.number}", p.subject, p.section) for p in planned)]
        )


def _one_subject(job: tuple[Path, list[Planned], int, bool]) -> None:
    folder, group, seed, series = job
    with _OneThread():
        patient = make_patient(group[0].index, seed=seed)
        for one in group:
            scan = scan_slab(patient, one.slab, seed=seed)
            labelled = one.section == "TRAINING"
            write_case(
                scan, folder / one.section / f"case_{one.number}", number=one.number, series=series, labelled=labelled
            )
            name = f"case_{one.number}.json" if labelled else f"TESTING_case_{one.number}.json"
            write_truth(
                {
                    "case": f"case_{one.number}",
                    "subject": one.subject,
                    "section": one.section,
                    "slab": one.slab,
                    **scan.truth,
                },
                folder / "truth" / name,
            )


class _OneThread:
    """Keep torch on one thread inside the block: sums keep their order, so bits do not depend on the machine's load."""

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)
