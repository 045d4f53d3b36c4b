"""Make the whole data set: plan the scans, simulate subject by subject, publish the complete folder."""

from __future__ import annotations

import logging
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from monai_isles.cohort.task import Place
from monai_isles.data.remote import is_url, local_root
from monai_isles.errors import refused
from monai_isles.phantom.atlas import load_atlas
from monai_isles.phantom.ct.scan import CaseArrays, scan_slab
from monai_isles.phantom.ct.subject import make_patient, protocol_of
from monai_isles.phantom.ct.variety import NONE, require_mode
from monai_isles.phantom.dicom_writer import require_form
from monai_isles.phantom.folder import (
    FIRST_TEST_SUBJECT,
    RECIPE,
    RECORD,
    OneThread,
    Planned,
    fill,
    holds_same,
    make_aside,
    make_ct,
    make_mri,
    mri_settings,
    record_text,
)
from monai_isles.phantom.mri.facts import MRI_KINDS

MOST_SLICES = 22
KINDS = ("ct", *MRI_KINDS)
_FOLDERS = {"ct": "ISLES2018_DIR", "siss": "ISLES2015_SISS_DIR", "spes": "ISLES2015_SPES_DIR"}
_LOG = logging.getLogger(__name__)


def plan(
    cases: int,
    *,
    seed: int,
    section: str = "TRAINING",
    max_slices: int = MOST_SLICES,
    kind: str = "ct",
    variety: str = NONE,
) -> list[Planned]:
    """Return the first ``cases`` scans of the unlimited list of ``seed``, without taller scans.

    An MRI subject is scanned once, whole.
    """
    planned: list[Planned] = []
    index = FIRST_TEST_SUBJECT if section == "TESTING" else 0
    if kind != "ct":
        return [Planned(section, n + 1, index + n, 0) for n in range(cases)]
    while len(planned) < cases:
        protocol = protocol_of(index, seed=seed, variety=variety)
        for slab in range(protocol.slabs if protocol.slices <= max_slices else 0):
            planned.append(Planned(section, len(planned) + 1, index, slab))
        index += 1
    return planned[:cases]


def make_case(
    number: int,
    *,
    seed: int,
    section: str = "TRAINING",
    max_slices: int = MOST_SLICES,
    variety: str = NONE,
) -> CaseArrays:
    """Simulate ``case_<number>`` of the data set ``seed`` in memory, equal to the arrays of ``make_dataset``.

    Raises: ``E-PHAN-02`` impossible numbers, ``E-PHAN-09`` no such variety.

    >>> case = make_case(1, seed=5, max_slices=2)
    >>> sorted(case.images)
    ['cbf', 'cbv', 'ct', 'dwi', 'mtt', 'tmax']
    """
    require_mode(variety)
    _require_numbers(cases=number, seed=seed, max_slices=max_slices)
    wanted = plan(number, seed=seed, section=section, max_slices=max_slices, variety=variety)[-1]
    with OneThread():
        return scan_slab(make_patient(wanted.index, seed=seed, variety=variety), wanted.slab, seed=seed)


def make_dataset(
    out: Path | str,
    *,
    cases: int,
    seed: int,
    series: bool = True,
    workers: int = 1,
    cluster: str | None = None,
    slurm: str | Path | None = None,
    test_cases: int = 0,
    max_slices: int = MOST_SLICES,
    kind: str = "ct",
    spacing_mm: float | None = None,
    dicom: str | None = None,
    variety: str = NONE,
) -> Path:
    """Write ``cases`` simulated scans in the ISLES 2018 or 2015 layout; the folder appears when it is complete.

    A run that is stopped or fails leaves its finished scans in a folder aside; the same command continues with them.

    Args:
        out: folder to make; returned unchanged if it already holds this phantom.
        seed: determines every bit; ``case_k`` does not depend on ``cases``, ``workers`` and ``series``.
        series: write the contrast series too (most of the bytes).
        workers, cluster, slurm: place of the computation, as in ``monai_isles.cohort.engine.run_cases``.
        test_cases: scans of other subjects in ``TESTING``, without lesion and DWI.
        max_slices: leave out subjects with taller scans; 2 or 4 makes a small data set.
        kind: ``ct``, ``siss`` or ``spes``; the MRI kinds ignore ``series`` and ``max_slices``.
        spacing_mm: coarser grid of the same field of view, MRI kinds only; default 1 mm (SISS), 2 mm (SPES).
        dicom: a form of ``phantom.dicom_writer``: also write every ``ct`` scan as DICOM, in ``DICOM/<section>/<case>``.
        variety: ``none``: one scanner, maps as from ``predict-series``. ``real``: scanner, map software and patient of
            each case are drawn and recorded in its truth. ``unseen``: the same with software, a kernel and a noise
            level that ``real`` never draws.

    Raises: ``E-PHAN-02`` impossible numbers, ``E-PHAN-03`` folder is something else, ``E-PHAN-06`` kind, and others.

    >>> folder = make_dataset("siss", cases=3, seed=7, kind="siss", spacing_mm=8.0)
    >>> sorted(path.name for path in folder.iterdir())
    ['SIMULATED.txt', 'TRAINING', 'subjects.csv', 'truth']
    """
    out = Path(out)
    _require_kind(kind, spacing_mm)
    require_mode(variety, kind)
    _require_numbers(cases=cases, workers=workers, test_cases=test_cases, seed=seed, max_slices=max_slices)
    if dicom is not None:
        require_form(dicom, kind)
    numbers = (f"seed {seed}", f"cases {cases}", f"test_cases {test_cases}")
    extra = (f"series {'yes' if series else 'no'}", f"max_slices {max_slices}", *([f"dicom {dicom}"] if dicom else []))
    extra += () if variety == NONE else (f"variety {variety}",)
    record = record_text(*numbers, *(extra if kind == "ct" else mri_settings(MRI_KINDS[kind], spacing_mm)))
    if holds_same(out, record):
        _LOG.info("phantom %s is there already", out)
        return out
    load_atlas()
    wanted = partial(plan, seed=seed, max_slices=max_slices, kind=kind, variety=variety)
    planned = wanted(cases) + wanted(test_cases, section="TESTING")
    aside = make_aside(out, record)
    place: Place = {"workers": workers, "cluster": cluster, "slurm": slurm}
    if kind == "ct":
        make = partial(make_ct, seed=seed, series=series, dicom=dicom, variety=variety)
    else:
        make = partial(make_mri, kind=MRI_KINDS[kind], seed=seed, spacing_mm=spacing_mm)
    try:
        fill(aside, planned, make, place=place)
        if not holds_same(out, record):
            (aside / RECIPE).rename(aside / RECORD)
            os.replace(aside, out)
        shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        if not any(aside.glob("truth/*.json")):  # finished scans stay for the next run
            shutil.rmtree(aside, ignore_errors=True)
        raise
    return out


def dataset_or_phantom(
    dataset_dir: str | None,
    *,
    folder: str,
    cases: int,
    seed: int,
    series: bool = False,
    max_slices: int = MOST_SLICES,
    kind: str = "ct",
    spacing_mm: float | None = None,
    variety: str = NONE,
) -> Path:
    """Return the data folder to use: the given one, else the environment's, else a new phantom in ``folder``.

    The environment variable is ``ISLES2018_DIR`` (``ct``), ``ISLES2015_SISS_DIR`` or ``ISLES2015_SPES_DIR``. For a
    URL the local mirror is returned (``monai_isles.data.remote``), which needs a data list.

    Raises: ``E-PHAN-04`` when a named folder does not exist; those of ``make_dataset``.

    >>> dataset_or_phantom(None, folder="siss", cases=3, seed=7, kind="siss", spacing_mm=8.0)
    PosixPath('siss')
    """
    from ignite.distributed import one_rank_first

    _require_kind(kind, spacing_mm)
    named = dataset_dir or os.environ.get(_FOLDERS[kind], "")
    if not named:
        _LOG.info("no data set named: using the simulated one in %s (%d cases, seed %d)", folder, cases, seed)
        options: dict[str, Any] = {"kind": kind, "spacing_mm": spacing_mm, "variety": variety, "max_slices": max_slices}
        with one_rank_first(local=True):  # the other processes of this machine find it
            return make_dataset(folder, cases=cases, seed=seed, series=series, **options)
    if is_url(named):
        return local_root(named)
    if not Path(named).is_dir():
        where = "dataset_dir" if dataset_dir else f"environment variable {_FOLDERS[kind]}"
        raise refused("E-PHAN-04", where=where, found=str(named))
    return Path(named)


def _require_kind(kind: str, spacing_mm: float | None) -> None:
    if kind not in KINDS:
        raise refused("E-PHAN-06", where="kind", found=str(kind), fix="give one of " + ", ".join(KINDS))
    if kind == "ct" and spacing_mm is not None:
        raise refused("E-PHAN-08", where="spacing", found=f"{spacing_mm:g} mm")
    if kind != "ct":
        MRI_KINDS[kind].grid(spacing_mm)


def _require_numbers(**numbers: int) -> None:
    least = {"cases": 1, "workers": 1, "test_cases": 0, "seed": 0, "max_slices": 2}
    if any(value < least[name] for name, value in numbers.items()):
        result = ", ".join(f"{name} {value}" for name, value in numbers.items())
        raise refused("E-PHAN-02", where="phantom", found=result)
