"""List all faults and remarks of a data set, for ``monai-isles check``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_isles.data.datalist import read_datalist
from monai_isles.data.entries import load_entries
from monai_isles.data.folder import dicom_folders, owners_of
from monai_isles.data.layouts import DICOM, PLAIN, scan_layout, unused_images
from monai_isles.data.scans import TESTING, TRAINING, Scan, faults_of, subjects_of
from monai_isles.data.study import study_places
from monai_isles.dicom.find import perfusion_series, scan_dicom, studies_without
from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError
from monai_isles.io.case_images import as_in_case, settle_case
from monai_isles.io.clock import nifti_clock
from monai_isles.io.findings import ERROR, WARNING, Finding, as_finding, collect_remarks, finding
from monai_isles.io.read import Image, inspect_image, require_same_grid
from monai_isles.modalities import LABEL, LABEL_VALUES, MODALITIES, PERFUSION_MAPS
from monai_isles.progress import progress

_ANATOMY = ("flair", "t1", "t1c", "t2")


def check_series(folder: str | Path) -> tuple[list[Finding], list[Scan]]:
    """Return every finding about the DICOM series of a folder, and its studies.

    Each of several studies is named as the case; where all files are of one, no study is returned.
    """
    with collect_remarks(log=False) as findings:
        folders = dicom_folders(Path(folder))
    if len(folders) < 2:
        return _series_findings(folder), []
    studies = [Scan("study", item.name, {"ctp": item}) for item in folders]
    for study in studies:
        about: list[Finding] = []
        with _collect_faults(about):
            about += _series_findings(study.files["ctp"], several=True)
        findings += [replace(item, case=_title(study)) for item in dict.fromkeys(about)]
    return findings, studies


def _series_findings(folder: str | Path, *, several: bool = False) -> list[Finding]:
    """Return the findings of a DICOM folder; a study without a series in time is an error among ``several``."""
    seen = scan_dicom(folder)
    findings = list(seen.findings)
    if any(item.severity == ERROR for item in findings):
        return findings
    usable, measured = [item for item in seen.series if item.usable], perfusion_series(seen.series)
    if not measured:
        found, fix = "; ".join(map(str, seen.series[:8])), "export the original CT or MR series"
        if usable:
            fix = "give the perfusion series to predict-series; convert MR images to NIfTI for predict"
        if usable and several:
            fix = "no action is needed for a study without perfusion: predict-series and perfusion leave it out"
        weight = ERROR if several or not usable else WARNING
        findings.append(finding("E-DCM-03", weight, where=str(folder), found=found, fix=fix))
    findings += studies_without(seen.series, str(folder))
    for study in {item.study_uid for item in measured}:
        if len(listed := [str(item) for item in measured if item.study_uid == study]) > 1:
            fix = "name one of them by predict-series --series, or check the folder of one series"
            findings.append(finding("E-DCM-04", ERROR, where=str(folder), found="; ".join(listed[:8]), fix=fix))
    for item in usable:
        try:
            series = read_series(folder, series_uid=item.uid, files=item.files)
            findings += [finding for finding in series.findings if finding not in findings]
        except IslesError as error:
            fault = as_finding(error)  # of a series beside the one that is measured it stops nothing
            findings.append(fault if item in measured or not measured else replace(fault, severity=WARNING))
    return findings


def check_folder(
    folder: str | Path, keys: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> tuple[list[Finding], list[Scan]]:
    """Return every finding about a data folder of any layout, and its cases; a bad file does not stop the check.

    Plain folders, BIDS trees and case files may hold any modalities: one that only some cases have is a warning.

    Args:
        keys: modalities that every case must hold, a bundle's; by default those of the layout.
        optional: modalities that the bundle may read; with ``keys``, images of other modalities are not checked.
    Raises: ``E-LIST-01`` when there is no case, and what ``find_layout`` raises.
    """
    folder = Path(folder)
    try:
        layout, scans = scan_layout(folder)
    except IslesError as error:
        layout, scans = PLAIN, _series_scans(folder) if keys is None and error.code == "E-LIST-01" else []
        if not scans:
            raise
    if layout is DICOM:
        about, studies = check_series(folder)
        return [*unused_images(folder, []), *about], studies
    named = (replace(item, case=item.where) for item in faults_of(scans, ()).values() if item.code == "E-LIST-11")
    findings, seen = list(dict.fromkeys(named)), dict[str, str]()
    every = tuple(sorted({value for values in layout.targets.values() for value in values})) or None
    findings += unused_images(folder, scans)
    if layout is PLAIN and owners_of(folder):
        found, fault = "DICOM files beside the images", "DICOM files are not checked here"
        fix = "check their folder alone too, which predict-series reads"
        findings.append(finding("E-LIST-15", WARNING, where=str(folder), found=found, fault=fault, fix=fix))
    weight = ERROR if keys or layout.channels else WARNING
    own_grids = keys is None and not layout.channels
    if keys is None:
        keys = layout.channels or [key for key in MODALITIES if any(key in scan.files for scan in scans)]
    else:
        for scan in scans:
            for key in {*scan.files} - {*keys, *optional, *scan.doubled, LABEL}:
                del scan.files[key]
    with _collect_faults(findings):
        subjects_of(scans, folder)
    trained = [scan for scan in scans if scan.section == TRAINING and scan.fault is None]
    masked = any(LABEL in scan.files for scan in trained)
    if trained and not masked:
        fault, fix = "no case has a lesion mask", "no action is needed for a prediction; a training needs masks"
        text = f"{len(trained)} case{'s' * (len(trained) > 1)}"
        findings.append(finding("E-LBL-03", WARNING, where=str(folder), found=text, fault=fault, fix=fix))
    for scan in progress(scans, "checking"):
        about = _scan_findings(scan, keys, weight, seen, every, masked, own_grids)
        findings += [replace(item, case=_title(scan)) for item in about]
    return findings, scans


def _series_scans(folder: Path) -> list[Scan]:
    """Return the studies of NIfTI series of any name, as ``predict-series`` and ``perfusion`` find them."""
    scans = []
    with suppress(IslesError):
        for study in (place for place in study_places(folder) if place.kind == "nifti"):
            images = {"ctp": str(study.series), "ct": study.plain}
            files = {key: Path(path) for key, path in images.items() if path and study.fault is None}
            scans.append(Scan("study", study.name, files, fault=study.fault))
    return scans if any(scan.files for scan in scans) else []


def cases_left_out(findings: Sequence[Finding], scans: Sequence[Scan]) -> dict[str, list[str]]:
    """Return the cases that ``predict`` and ``training`` will leave out, according to the findings."""
    # An unusable or missing mask affects only the training, and with it ``prepare`` and ``crossval``.
    masks = {_title(scan): str(scan.files[LABEL]) for scan in scans if LABEL in scan.files}
    bad = [item for item in findings if item.case and item.severity == ERROR]
    seen = [item for item in bad if not _of_the_mask(item, masks.get(item.case))]
    bad += [item for item in findings if item.case and item.code == "E-LBL-03"]
    training = {item.case for item in bad if item.case.startswith(TRAINING)}
    return {"predict": sorted({item.case for item in seen}), "training": sorted(training)}


def _of_the_mask(finding: Finding, mask: str | None) -> bool:
    twice = finding.code == "E-LIST-13" and finding.found.startswith(f"{LABEL} (")
    named = mask is not None and mask in f"{finding.where}; {finding.found}"
    return twice or named or finding.code.startswith("E-LBL-")


def _title(scan: Scan) -> str:
    return f"{scan.section} {scan.name}"


def _scan_findings(
    scan: Scan, keys: Sequence[str], weight: str, seen: dict[str, str], every: Sequence[int] | None, masked: bool,
    own_grids: bool,
) -> list[Finding]:  # fmt: skip
    where = _title(scan)
    if scan.fault is not None:
        return [as_finding(scan.fault)]
    findings = []
    for key in scan.lacking(keys):
        text = {"found": f"no {MODALITIES[key].name} file", "fault": "file is missing"}
        findings.append(finding("E-LIST-02", weight, where=f"{where}: {key}", **text))
    findings += [finding("E-LIST-13", ERROR, where=where, found=text) for text in scan.doubles()]
    if masked and LABEL not in scan.files and scan.section == TRAINING:
        findings.append(finding("E-LBL-03", WARNING, where=where, found="no mask file"))
    values = scan.label_values and (every or scan.label_values)
    return findings + _check_case(where, scan, seen, values, own_grids)


def check_list(path: str | Path, dataset_dir: str | Path | None = None) -> tuple[list[Finding], list[Scan]]:
    """Return every finding about a data list; where the data folder is given, also about its images, and the cases."""
    findings: list[Finding] = []
    content: dict[str, Any] = {}
    with _collect_faults(findings):
        content = read_datalist(path, dataset_dir)
    if dataset_dir is None or any(item.severity == ERROR for item in findings):
        return findings, []
    seen, scans = dict[str, str](), []
    for section, name in (("training", TRAINING), ("test", TESTING)):
        for number, entry in enumerate(content.get(section, []), start=1):
            scan, place = Scan(name, str(entry["case"])), f"{path}: {section} entry {number}: {entry['case']}"
            keys = [key for key in MODALITIES if key in entry]
            part = {key: content[key] for key in (LABEL_VALUES,) if key in content} | {section: [entry]}
            about, flat = list[Finding](), list[dict[str, Any]]()
            if keys:
                with _collect_faults(about):
                    flat += load_entries(part, dataset_dir, section=section, keys=keys, need_label=False)
            else:
                others = ", ".join(key for key in entry if key not in ("case", "subject", "fold")) or "nothing"
                lack = f"no image; {others} of no modality that is known"
                about.append(finding("E-LIST-02", ERROR, where=place, found=lack))
            some = LABEL in entry or (name == TRAINING and any(LABEL in other for other in content[section]))
            if flat and LABEL not in flat[0] and some:
                named = f"no file {entry[LABEL]}" if LABEL in entry else "no mask file"
                about.append(finding("E-LBL-03", ERROR if LABEL in entry else WARNING, where=place, found=named))
            # of this list the entry is the first
            about = [replace(item, found=item.found.replace("(entry 1)", f"(entry {number})")) for item in about]
            for files in flat:
                scan.files = {key: Path(files[key]) for key in (*keys, LABEL) if key in files}
                scan.label_values, scan.resample = files.get(LABEL_VALUES), files.get("resample", False)
                about += _check_case(place, scan, seen, scan.label_values)
                scans.append(scan)
            findings += [replace(item, case=_title(scan)) for item in about]
    return findings, scans


def _check_case(
    where: str, scan: Scan, seen: dict[str, str], label_values: Sequence[int] | None, own_grids: bool = False
) -> list[Finding]:
    """``own_grids``: beside diffusion images, anatomical ones on a grid of their own are remarked, as in ISLES'22."""
    images: dict[str, Image] = {}
    findings: list[Finding] = []
    chief = next((key for key in MODALITIES if key in scan.files), "ct")
    for key, path in scan.files.items():
        try:
            image, about = inspect_image(path, kind=key, where=where, label_values=label_values)
        except IslesError as error:
            findings.append(as_finding(error))
            continue
        findings += as_in_case(about, key, image, scan.files)
        if image is None:
            continue
        images[key] = image
        if key == "ctp" and image.frames is not None:
            try:
                nifti_clock(path, image.frames)
            except IslesError as error:  # beside all maps, bundles go on without the series
                needed = any(name not in scan.files for name in PERFUSION_MAPS)
                findings.append(replace(as_finding(error), severity=ERROR if needed else WARNING))
        if key == LABEL and not about and not image.data.any():
            findings.append(finding("E-LBL-02", WARNING, where=where, found="0 lesion voxels"))
        if key == chief and seen.setdefault(image.sha256, where) != where:
            text = f"byte for byte the file of {seen[image.sha256]}"
            findings.append(finding("E-LIST-14", WARNING, where=where, found=text))
    findings += settle_case(images, case=where)[1]
    own_grids = own_grids and not {"dwi", "adc"}.isdisjoint(images)
    ranked = sorted(images, key=lambda key: (own_grids and key in _ANATOMY, key != chief))
    for key in [] if scan.resample else ranked[1:]:
        about = _off_grid(images, ranked[0], key, where)
        if own_grids and key in _ANATOMY:
            fix = "no action is needed for a bundle that does not read both; otherwise register them first"
            about = [replace(item, severity=WARNING, fix=fix) for item in about]
        elif own_grids and key == LABEL:  # drawn on one of the images
            about = min((_off_grid(images, other, key, where) for other in images if other != key), key=len)
        findings += about
    return findings


def _off_grid(images: dict[str, Image], one: str, other: str, where: str) -> list[Finding]:
    findings: list[Finding] = []
    with _collect_faults(findings):
        require_same_grid({one: images[one], other: images[other]}, case=where)
    return findings


@contextmanager
def _collect_faults(findings: list[Finding]) -> Iterator[None]:
    """Append remarks and a raised error to ``found``."""
    with collect_remarks(log=False) as remarks:
        try:
            yield
        except IslesError as error:
            remarks.append(as_finding(error))
    findings += remarks
