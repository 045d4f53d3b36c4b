"""Write the folder of a data set in the releases' layout: fill it aside, publish it complete, overwrite nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_isles import __version__
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Place, Record, Task
from monai_isles.errors import IslesError, refused
from monai_isles.io.publish import folder_aside, publish_csv, publish_text
from monai_isles.io.runs import is_alive, sweep_parts
from monai_isles.phantom.atlas import TABLES
from monai_isles.phantom.ct.scan import CaseArrays, scan_slab
from monai_isles.phantom.ct.subject import make_patient
from monai_isles.phantom.dicom_writer import write_dicom
from monai_isles.phantom.mri.facts import MriKind
from monai_isles.phantom.mri.scan import scan_mri

FIRST_TEST_SUBJECT = 1_000_000


@dataclass(frozen=True)
class Planned:
    """Identify one scan before it is made: ``case_<number>`` is scan ``slab`` of subject ``index``."""

    section: str
    number: int
    index: int
    slab: int

    @property
    def subject(self) -> str:
        """Return the subject's name, unique over both sections."""
        if self.section == "TESTING":
            return f"test_{self.index - FIRST_TEST_SUBJECT + 1:03d}"
        return f"subject_{self.index + 1:03d}"


def fill(folder: Path, planned: Sequence[Planned], make: Callable[..., None], *, place: Place) -> None:
    """Let ``make`` (``make_ct``, ``make_mri``) write every planned scan that ``folder`` lacks; list the subjects."""
    groups = [list(group) for _, group in groupby(planned, key=lambda item: item.index)]
    tasks = [Task(group[0].subject, (folder.absolute(), group, make)) for group in groups]
    records = run_cases(make_subject, tasks, **place, title="phantom", unit="subject")
    for name, record in records.items():
        if record["outcome"] == "failed":
            raise record.get("fault") or refused("E-PHAN-30", where=name, found=str(record["error"]))
    sweep_parts(folder)
    rows = [(f"case_{item.number}", item.subject, item.section) for item in planned]
    publish_csv(folder / "subjects.csv", ("case", "subject", "section"), rows)


def make_subject(task: Task) -> Record:
    """Make the scans of one subject; each appears complete, its truth last."""
    folder, group, make = task.about
    left = [item for item in group if not _truth(folder, item).is_file()]
    if not left:
        return {"outcome": "done before"}
    try:
        with OneThread():
            make(folder, left)
    except IslesError as fault:
        return {"outcome": "failed", "error": str(fault), "fault": fault}
    return {"outcome": "ok"}


def make_ct(
    folder: Path, group: Sequence[Planned], *, seed: int, series: bool, dicom: str | None, variety: str
) -> None:
    """Write the CT scans of one subject, as ``make_dataset`` says."""
    patient = make_patient(group[0].index, seed=seed, variety=variety)
    names = {key: f"SMIR.Brain.XX.O.{name}" for key, name in TABLES["isles2018"].items()}
    for item in group:
        scan = scan_slab(patient, item.slab, seed=seed)
        labelled, case = item.section == "TRAINING", folder / item.section / f"case_{item.number}"
        hidden = {*(() if series else ("ctp",)), *(() if labelled else ("dwi", "label"))}  # the lesion is drawn on DWI
        first = (340000 if labelled else 350000) + 10 * item.number
        _whole(case, partial(_write_images, scan, names, first=first, hidden=hidden))
        if dicom:
            _whole(folder / "DICOM" / item.section / case.name, partial(write_dicom, scan, form=dicom))
        _write_truth(folder, item, {"slab": item.slab, **scan.truth})


def make_mri(folder: Path, group: Sequence[Planned], *, kind: MriKind, seed: int, spacing_mm: float | None) -> None:
    """Write the one MRI scan of a subject."""
    (item,) = group
    labelled, scan = item.section == "TRAINING", scan_mri(kind, item.index, seed=seed, spacing_mm=spacing_mm)
    names = {key: f"VSD.Brain.XX.O.{name}" for key, name in kind.files.items()} | {"label": kind.label_file}
    first, hidden = kind.first_id + (0 if labelled else 5000) + 10 * item.number, set() if labelled else {"label"}
    case = folder / item.section / str(item.number)
    _whole(case, partial(_write_images, scan, names, first=first, hidden=hidden))
    _write_truth(folder, item, {"kind": kind.name, **scan.truth})


def _whole(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder aside and move it in one step; replace an incomplete one."""
    with folder_aside(folder) as aside:
        write(aside)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(aside, folder)


def _truth(folder: Path, planned: Planned) -> Path:
    name = f"case_{planned.number}.json" if planned.section == "TRAINING" else f"TESTING_case_{planned.number}.json"
    return folder / "truth" / name


def _write_truth(folder: Path, planned: Planned, truth: dict[str, object]) -> None:
    about = {"case": f"case_{planned.number}", "subject": planned.subject, "section": planned.section}
    publish_text(_truth(folder, planned), json.dumps({**about, **truth}, indent=1, sort_keys=True) + "\n")


class OneThread:
    """Limit torch to one thread inside the block: sums keep their order, so bits do not depend on the machine."""

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)


PHANTOM_VERSION = 2
RECORD, RECIPE = "SIMULATED.txt", ".recipe.txt"
_FIRST = "SIMULATED: no patient, no scanner. Every image here was computed from a physical model."
_LAST = (
    "anatomy: MNI152 2009a tissue maps (Copyright 1993-2004 Louis Collins, McConnell Brain Imaging Centre)",
    "research only, not a medical device",
)


def record_text(*settings: str) -> str:
    """Return the text of ``SIMULATED.txt``: one line per setting, and that no patient is in the data."""
    made = f"made by monai_isles {__version__}, phantom version {PHANTOM_VERSION}"
    return "\n".join([_FIRST, made, *settings, *_LAST]) + "\n"


def holds_same(out: Path, record: str) -> bool:
    """Return whether ``out`` already is this data set; a missing or empty folder is not."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    result = (out / RECORD).read_text(encoding="utf-8") if (out / RECORD).is_file() else ""
    if result != record:
        settings = ", ".join(result.splitlines()[1:-2])
        what = f"a phantom with other settings: {settings}" if result else "something that is not a phantom"
        raise refused("E-PHAN-03", where=str(out), found=what)
    return True


def make_aside(out: Path, record: str) -> Path:
    """Make a temporary folder next to ``out`` for the new scans, or continue that of an interrupted run."""
    # Its file ``RECIPE`` holds ``record``. Folders of interrupted runs of other data sets are deleted.
    if out.exists() and (out.is_symlink() or out.is_mount() or out.samefile(Path.cwd())):
        found, fix = "a link, a disk or the current folder, which cannot be replaced", "name a new folder in it"
        raise refused("E-PHAN-05", where=str(out), found=found, fix=fix)
    parent = out.absolute().parent
    aside = parent / f".part-{os.getpid()}-{out.name}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(parent.glob(".part-*")):
            ours = re.fullmatch(rf"\.part-(\d+)-{re.escape(out.name)}", old.name)
            if ours and (old == aside or not is_alive(int(ours[1]))):
                same = (old / RECIPE).is_file() and (old / RECIPE).read_text(encoding="utf-8") == record
                if same and (old == aside or not aside.exists()):
                    old.rename(aside)
                else:
                    shutil.rmtree(old)
        aside.mkdir(exist_ok=True)
        publish_text(aside / RECIPE, record)
    except OSError as error:
        raise refused("E-PHAN-05", where=str(out), found=f"{type(error).__name__}: {error.strerror}") from error
    return aside


def _write_images(
    scan: CaseArrays, names: Mapping[str, str], folder: Path, *, first: int, hidden: Collection[str]
) -> None:
    """Write the images that are not ``hidden``, uncompressed, each in a folder of its name and number.

    Shapes: stored as (X, Y, Z) or (X, Y, Z, T) with x to the left and y to the back, as the releases do.
    """
    images = scan.images | {"ctp": np.moveaxis(scan.ctp, 0, -1), "label": scan.label.astype(np.uint8)}
    place: dict[str, Any] = {"spacing_mm": scan.spacing_mm, "level_mm": scan.truth["level_mm"]}
    for number, (key, name) in enumerate(names.items(), start=first):
        if key not in hidden:
            inside = folder / f"{name}.{number}"
            inside.mkdir(parents=True)
            more: dict[str, Any] = {"centre_mm": scan.centre_mm, "dt_s": scan.dt_s if key == "ctp" else None}
            save_lps(images[key], inside / f"{inside.name}.nii", **place, **more)


def save_lps(
    image: np.ndarray,
    path: Path,
    *,
    spacing_mm: tuple[float, float, float],
    level_mm: float,
    dt_s: float | None = None,
    centre_mm: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Save a RAS+ array flipped along x and y, with the matching affine."""
    import nibabel

    stored = np.ascontiguousarray(image[::-1, ::-1])
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    half = (np.array(image.shape[:3]) - 1) / 2 * np.array(spacing_mm)
    affine[:3, 3] = np.round([half[0] + centre_mm[0], half[1] + centre_mm[1], level_mm - half[2]], 3)
    nifti = nibabel.Nifti1Image(stored, affine)
    nifti.set_qform(affine, code=1)
    nifti.set_sform(affine, code=1)
    nifti.header.set_xyzt_units("mm", "sec")
    if dt_s is not None:
        nifti.header["pixdim"][4] = dt_s
    nibabel.save(nifti, path)


def mri_settings(kind: MriKind, spacing_mm: float | None) -> tuple[str, ...]:
    """Return the lines of ``SIMULATED.txt`` about the grid and the labels."""
    shape, spacing = kind.grid(spacing_mm)
    own = "the release's own" if spacing == kind.spacing_mm else f"coarser than the release's {kind.spacing_mm:g} mm"
    size = "x".join(map(str, shape))
    return (f"kind {kind.name}", f"spacing_mm {spacing:g}", f"grid {size}, {own}", kind.labels)
