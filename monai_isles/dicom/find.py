"""Find the DICOM series below a folder: kind, readability, and skipped files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from monai_isles.dicom.characters import character_terms, codecs_of, well_spelt
from monai_isles.dicom.frames import Frame, frames_of
from monai_isles.dicom.header import DicomFile, is_dicom, pydicom_module, quietly, read_dicom_file
from monai_isles.dicom.pixels import require_grey, same_picture
from monai_isles.dicom.stack import by_place
from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import SECOND_US, SHORTEST_STEP_S, unwrap_midnight, unwrap_summer_time
from monai_isles.io.findings import WARNING, Finding, as_finding, finding

FEWEST_SERIES = {"ct": 5, "ctp": 2}
FEWEST_TIMES = 10  # that maps can be computed from
LONGEST_GAP_S = 15.0
_TIMES = ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime")


def join_series(dicom: DicomFolder) -> None:
    """Join the series of one scan, of one time, phase or slab each, to one series in time, with a finding for each.

    Joined are five or more still CT series, or two or more in time at the same places, of one study, frame of
    reference, kernel, orientation, size and step that follow one another by at most 15 s: so a plain CT taken minutes
    before stays apart, and two reconstructions of one acquisition, which overlap in time, are never joined. Then those
    taken at once at places of their own, which together are evenly spaced: the slabs of a table that moved to and fro.
    Slices that one of them lacks are then refused as in any series. The joined series has the UID of the earliest.
    """
    for slabs in (False, True):
        groups: dict[tuple, list[_Part]] = {}
        for info in dicom.series:
            part = _part_of(info, dicom.files[info.uid]) if info.usable and info.kind in FEWEST_SERIES else None
            if part is not None and not (slabs and (info.kind == "ct" or part.relative)):
                groups.setdefault(part.look if slabs else (*part.look, part.places), []).append(part)
        # by the first attribute that tells a scan: an anonymiser may leave one that is equal everywhere
        found = [[_scans(group, key, slabs=slabs) for key in _TIMES] for group in groups.values()]
        for run in (run for by_key in found for run in next(filter(None, by_key), [])):
            first, rest = run[0].info, {part.info.uid for part in run[1:]}
            files = dicom.files[first.uid] = [file for part in run for file in dicom.files[part.info.uid]]
            paths, frames = tuple(file.path for file in files), sum(part.info.frames for part in run)
            places = sum(part.info.places for part in run) if slabs else first.places
            parts = tuple(name for part in run for name in (part.info.uid, part.info.number, *part.info.parts))
            joined = replace(first, kind="ctp", files=paths, frames=frames, places=places, parts=parts)
            dicom.series = [joined if item.uid == first.uid else item for item in dicom.series if item.uid not in rest]
            each = "one slab each" if slabs else "one time each" if first.kind == "ct" else "one scan"
            last_s = max(part.end_s for part in run)
            where = f"{first.files[0].parent}: series {first.number or first.uid}"
            result = f"{len(run)} series of {each}, {last_s - run[0].start_s:.1f} s from first to last"
            dicom.findings.append(finding("E-DCM-60", WARNING, where=where, found=result))


@dataclass(frozen=True)
class _Part:
    """Hold a series that may be a part of a scan: its grid, clocks, times, the places (x, y, z) of one in time."""

    info: SeriesInfo
    look: tuple
    clocks: Mapping[str, Sequence[int]]
    times_us: Sequence[int] = ()
    places: frozenset = frozenset()
    relative: bool = False  # GE's mid-scan time, whose start another series need not share

    @property
    def start_s(self) -> float:
        return min(self.times_us) / SECOND_US

    @property
    def end_s(self) -> float:
        """Return the time of the last slice; of a still series that of its first."""
        return self.start_s if self.info.kind == "ct" else max(self.times_us) / SECOND_US


def _part_of(info: SeriesInfo, files: Sequence[DicomFile]) -> _Part | None:
    """Return a series with the times of its slices by each attribute that all hold, None if unreadable."""
    try:
        frames = [frame for file in files for frame in frames_of(file)]
    except IslesError:
        return None
    held = [key for key in _TIMES if all(key in frame.times_us for frame in frames)]
    first, clocks = frames[0], {key: [frame.times_us[key] for frame in frames] for key in held}
    grid = (*(round(x, 4) for x in first.orientation), *(round(x, 5) for x in (*first.spacing, first.step_mm or 0.0)))
    named = (files[0].text(key) for key in ("StudyInstanceUID", "FrameOfReferenceUID", "ConvolutionKernel"))
    same = (info.kind, info.derived, *named, info.rows, info.columns)
    timed = [frame for frame in frames if info.kind != "ct"]
    places = frozenset(tuple(round(x, 1) for x in frame.position) for frame in timed)
    relative = any("MidScanTime" in frame.times_us for frame in frames)
    return _Part(info, (*same, grid), clocks, (), places, relative)


def _scans(group: Sequence[_Part], key: str, *, slabs: bool) -> list[list[_Part]]:
    """Return the series that follow one another in time without gap or overlap, or the ``slabs`` taken at once.

    Slabs lie at places of their own that together have even steps. Times are by one attribute, across midnight and a
    change of summer time.
    """
    held = [part for part in group if key in part.clocks]
    flat = iter(unwrap_summer_time(unwrap_midnight([time for part in held for time in part.clocks[key]])))
    timed = [replace(part, times_us=[next(flat) for _ in part.clocks[key]]) for part in held]
    runs: list[list[_Part]] = []
    for part in sorted(timed, key=lambda part: (part.start_s, part.end_s, part.info.uid)):
        last = runs[-1] if runs else [part]
        ended = part.start_s >= min(other.end_s for other in last)
        if not runs or (ended if slabs else part.start_s - last[-1].end_s > LONGEST_GAP_S):
            runs.append([])
        runs[-1].append(part)
    if slabs:
        return [run for run in runs if len(run) > 1 and _in_even_steps([at for part in run for at in part.places])]
    long = [run for run in runs if len(run) >= FEWEST_SERIES[run[0].info.kind]]
    return [run for run in long if all(b.start_s - a.end_s >= SHORTEST_STEP_S for a, b in pairwise(run))]


def _in_even_steps(places: Sequence[tuple[float, ...]]) -> bool:
    first, *others = (np.array(place) for place in sorted(places, key=lambda place: place[::-1]))
    steps = np.diff([0.0, *(float(np.linalg.norm(other - first)) for other in others)])
    return len(set(places)) == len(places) and float(np.ptp(steps)) <= 0.1 * float(steps.max()) + 0.2


_CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_MR = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
_READ = (*_CT, *_MR, _PARAMETRIC_MAP)
_MAP = re.compile(r"(?<![a-z])(r?cbf|r?cbv|mtt|t[\s_-]?max|ttp)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class SeriesInfo:
    """Describe one series of a folder.

    Args:
        kind: ``ctp`` (CT, several frames at a position), ``ct``, ``mr``, or a map: ``cbf``, ``cbv``, ``mtt``, ``tmax``,
            ``ttp`` by its image type or description; ``other`` for images that are not read.
        frames: pictures in all, of all slices and times.
        reason: why it is passed over, empty where it can be read.
        places: positions of slices.
        derived: by its image type it was computed from another series.
        parts: UIDs and numbers of the series that were joined to it.
    """

    uid: str
    study_uid: str
    number: str
    modality: str
    description: str
    kind: str
    files: tuple[Path, ...]
    frames: int
    rows: int
    columns: int
    reason: str = ""
    places: int = 1
    derived: bool = False
    parts: tuple[str, ...] = ()

    def named(self, series: str | None) -> bool:
        """Return whether a UID or number is that of this series, or of one that was joined to it; any if None."""
        return series in (None, self.uid, self.number, *self.parts)

    @property
    def usable(self) -> bool:
        """Return whether the series can be read."""
        return not self.reason

    @property
    def extent(self) -> str:
        """Return slices and times of a series in time, in words."""
        size = f"{self.places} slice{'s' * (self.places > 1)}, {self.frames // self.places} times"
        return f"({size}, derived)" if self.derived else f"({size})"

    def __str__(self) -> str:
        size = f" {self.extent}" if self.kind == "ctp" else ""
        about = f"series {self.number or '?'} {self.kind} ({self.modality}, {self.frames} frames){size} {self.uid}"
        return f"{about}: {self.reason}" if self.reason else about


def perfusion_series(series: Sequence[SeriesInfo]) -> list[SeriesInfo]:
    """Return the series in time that may be the perfusion scan of their study; several where this is not certain.

    Tracking of a bolus holds one slice; three phases of an angiogram, or maps stored as one series, hold too few times
    to be measured; a copy with movement undone says that it is derived. None of these is taken where there is another.
    """
    result = [item for item in series if item.usable and item.kind == "ctp"]
    rules: tuple[Callable[[SeriesInfo], bool], ...] = (
        lambda item: item.frames >= FEWEST_TIMES * item.places, lambda item: item.places > 1,
        lambda item: not item.derived,
    )  # fmt: skip
    for rule in rules:
        fit = {item.study_uid for item in result if rule(item)}
        result = [item for item in result if rule(item) or item.study_uid not in fit]
    return result


def studies_without(series: Sequence[SeriesInfo], where: str) -> list[Finding]:
    """Return a remark on every study that holds no perfusion scan beside one that does."""
    measured = {item.study_uid for item in perfusion_series(series)}
    others: dict[str, list[str]] = {}
    for item in series:
        if item.usable and measured and item.study_uid not in measured:
            others.setdefault(item.study_uid, []).append(str(item))
    words = {"fault": "a study without perfusion is left out", "fix": "no action is needed for a follow-up"}
    return [finding("E-DCM-03", WARNING, where=where, found="; ".join(text[:8]), **words) for text in others.values()]


@dataclass
class DicomFolder:
    """Hold the content of a folder: series with their files, and findings, with the errors of damaged files."""

    series: list[SeriesInfo] = field(default_factory=list)
    files: dict[str, list[DicomFile]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@quietly()
def scan_dicom(folder: str | Path, files: Sequence[Path] = ()) -> DicomFolder:
    """Return the series of a folder and of the folders in it, or of some of their files; no pixels are read.

    Names and suffixes are ignored: a file is DICOM by its first bytes (``is_dicom``). DICOMDIR and hidden files are
    ignored. Localisers, secondary captures, reports and private objects are skipped, each with a finding. Series of
    one time each are joined (``join_series``).
    """
    folder, result = Path(folder), DicomFolder()
    pydicom_module()
    if not folder.is_dir():
        raise _nothing(folder, "no such folder")
    strange, damaged = [], []
    for path in files or _files(folder):
        if not is_dicom(path):
            strange.append(path.name)
            continue
        try:
            file = read_dicom_file(path)
        except IslesError as error:
            damaged.append(as_finding(error))
            continue
        if file is None:
            result.findings.append(finding("E-DCM-30", WARNING, where=str(path), found="no image in it"))
        else:
            result.files.setdefault(file.text("SeriesInstanceUID") or file.text("SeriesNumber"), []).append(file)
    if strange:
        more = f" and {len(strange) - 4} more" if len(strange) > 4 else ""
        text = f"{len(strange)} files: {', '.join(strange[:4])}{more}"
        result.findings.append(finding("E-DCM-31", WARNING, where=str(folder), found=text))
    result.findings += damaged
    if not result.files and not damaged:
        raise _nothing(folder, f"{len(strange)} files, none of them a DICOM image")
    result.series = [_info(uid, files, result.findings) for uid, files in result.files.items()]
    _leave_out_resent(result)
    join_series(result)
    result.series.sort(key=lambda item: (int(item.number) if item.number.isdigit() else 10**9, item.uid))
    return result


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder that are not hidden; links to folders are followed."""
    result, seen = [], set[str]()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(place, name)) not in seen]
        result += [Path(place) / name for name in names if not name.startswith(".") and name.upper() != "DICOMDIR"]
    return sorted(result)


def _info(uid: str, files: list[DicomFile], findings: list[Finding]) -> SeriesInfo:
    """Describe a series; remove copies and other objects from ``files``."""
    _leave_out(files, copies_in(files), "E-DCM-66", None, findings)
    # of a known class that is not read; an unknown class counts as damage
    known = {uid for uid, words in pydicom_module().uid.UID_dictionary.items() if words[1] == "SOP Class"}
    known.difference_update(_READ)
    strange = [file for file in files if file.text("SOPClassUID") in known or _coloured(file)]
    _leave_out(files, strange, "E-DCM-32", "captures and reports are passed over", findings)
    scouts = [file for file in files if "LOCALIZER" in file.text("ImageType").upper()]
    _leave_out(files, scouts, "E-DCM-32", "localisers are passed over", findings)
    first, reason, (kind, places) = files[0], _reason(files), _kind(files)
    if not well_spelt(terms := character_terms(first.header)):
        text = f"{chr(92).join(terms)!r} in {first.path.name}, read as {codecs_of(terms)[0]}"
        findings.append(finding("E-DCM-68", WARNING, where=str(first.path.parent), found=text))
    rows, columns = (int(text) if (text := first.text(key)).isdigit() else 0 for key in ("Rows", "Columns"))
    map_name = _map_named(files) if reason or kind != "ctp" else ""  # a series in time is no map, whatever its name
    keys = ("StudyInstanceUID", "SeriesNumber", "Modality", "SeriesDescription")
    study, number, modality, description = (first.text(key) for key in keys)
    paths, counts = tuple(file.path for file in files), (file.text("NumberOfFrames") for file in files)
    frames = sum(int(text) if text.isdigit() else 1 for text in counts)
    kind = map_name or ("other" if reason else kind)
    about = (reason, places, "DERIVED" in first.text("ImageType").upper())
    info = SeriesInfo(uid, study, number, modality, description, kind, paths, frames, rows, columns, *about)
    if reason:
        findings.append(finding("E-DCM-32", WARNING, where=str(first.path.parent), found=str(info)))
    return info


def _coloured(file: DicomFile) -> bool:
    grey = file.text("PhotometricInterpretation").startswith("MONOCHROME")
    return file.text("SamplesPerPixel") == "3" and not grey


def _leave_out(
    files: list[DicomFile], out: Sequence[DicomFile], code: str, fault: str | None, findings: list[Finding]
) -> None:
    """Remove files from a series, with a finding, unless they are all of it."""
    if not out or len(out) == len(files):
        return
    files[:] = [file for file in files if file not in out]
    text = f"{len(out)} of series {files[0].text('SeriesNumber')}: {out[0].path.name}"
    words = {} if fault is None else {"fault": fault}
    findings.append(finding(code, WARNING, where=str(files[0].path.parent), found=text, **words))


# they differ between the instances of a series
_INSTANCE = ("InstanceNumber", "AcquisitionNumber", "AcquisitionTime", "ImagePositionPatient")


def copies_in(files: Sequence[DicomFile]) -> list[DicomFile]:
    """Return the files that repeat an instance: equal header as read, except for a new UID, and equal pixels."""
    # Of instances that share their UID and differ otherwise, all are kept: the series is refused later.
    seen: dict[tuple[str, ...], DicomFile] = {}
    copies = []
    for file in files:
        first = seen.setdefault(tuple(map(file.text, _INSTANCE)), file)
        if first is not file and same_picture(first, file):
            copies.append(file)
    return copies


def _leave_out_resent(dicom: DicomFolder) -> None:
    """Leave out a series that was sent again under new UIDs: each file repeats one of the first."""
    kept: list[SeriesInfo] = []
    for info in dicom.series:
        again, size = dicom.files[info.uid], (info.kind, info.frames, info.places, info.rows, info.columns)
        for n, one in enumerate(kept if info.usable and info.kind in FEWEST_SERIES else ()):
            files = dicom.files[one.uid]
            alike = (one.kind, one.frames, one.places, one.rows, one.columns) == size and len(files) == len(again)
            if alike and len(copies_in([*files, *again])) == len(again):
                kept[n] = replace(one, parts=(*one.parts, info.uid, info.number))
                text = f"series {info.number} of {len(again)} files repeats series {one.number} under new UIDs"
                dicom.findings.append(finding("E-DCM-66", WARNING, where=str(again[0].path.parent), found=text))
                break
        else:
            kept.append(info)
    dicom.series = kept


def _reason(files: Sequence[DicomFile]) -> str:
    first = files[0]
    if "LOCALIZER" in first.text("ImageType").upper():
        return "a localiser"
    try:
        require_grey(first, "")
    except IslesError as error:
        return f"{error.fault} ({error.found})" if error.code == "E-DCM-15" else ""
    classes = {file.text("SOPClassUID") for file in files}
    if not classes <= set(_READ):
        name = pydicom_module().uid.UID(sorted(classes - set(_READ))[0]).name
        return f"not an original CT or MR image ({name})"
    return ""


def _map_named(files: Sequence[DicomFile]) -> str:
    image_type, description = (files[0].text(key) for key in ("ImageType", "SeriesDescription"))
    named = None if "ORIGINAL" in image_type.upper() else _MAP.search(f"{image_type} {description}")
    return re.sub(r"[\s_-]", "", named[1].lower()).removeprefix("r") if named else ""


def _kind(files: Sequence[DicomFile]) -> tuple[str, int]:
    """Return the kind of a series, and its number of slice positions, 1 where they are not needed."""
    if files[0].text("SOPClassUID") not in _CT:
        return ("mr" if files[0].text("SOPClassUID") in _MR else "other"), 1
    frames: list[Frame] = []
    for file in files:
        with suppress(IslesError):  # a file without a place is named where the series is read
            frames += frames_of(file)
    if not frames:
        return "ct", 1
    first = frames[0].orientation
    places = len(by_place(frames, np.cross(first[:3], first[3:])))
    return ("ctp" if places < len(frames) else "ct"), places


def _nothing(folder: Path, found: str) -> IslesError:
    return refused("E-DCM-02", where=str(folder), found=found)
