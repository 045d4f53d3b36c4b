"""A dynamic scan that was stored as many series, one for each time: put together again, where nothing is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monai_isles.dicom.frames import frames_of
from monai_isles.dicom.header import DicomFile
from monai_isles.errors import IslesError
from monai_isles.io.findings import WARNING, Finding

if TYPE_CHECKING:
    from monai_isles.dicom.find import SeriesInfo

FEWEST_SERIES = 5
LONGEST_GAP_S = 15.0
_TIMES = ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime")


@dataclass(frozen=True)
class _Volume:
    """One still series: its grid as a key, and when its first slice was taken, in s, by one attribute."""

    info: SeriesInfo
    grid: tuple
    start_s: float


def join_series(
    series: Sequence[SeriesInfo], files: dict[str, list[DicomFile]]
) -> tuple[list[SeriesInfo], list[Finding]]:
    """Return the series with those of one time each joined to one of many, and a finding for each that was joined.

    Joined are five or more still CT series of one study, frame of reference, orientation and size, whose acquisition
    times all differ and follow one another by at most 15 s: so a plain CT taken minutes before stays apart, and two
    reconstructions of one acquisition, which share their time, are never joined. Slices that one of them lacks are then
    refused as in any series. The joined series has the UID of the earliest; ``files`` is changed to match.

    Args:
        series: as found. files: of each series, by its UID.
    Source: ours; ``tests/data/test_dicom_join.py``.
    """
    volumes = [one for info in series if info.usable and info.kind == "ct" and (one := _volume(info, files[info.uid]))]
    groups: dict[tuple, list[_Volume]] = {}
    for volume in volumes:
        groups.setdefault(volume.grid, []).append(volume)
    out, findings = list(series), []
    for run in (run for group in groups.values() for run in _runs(group)):
        first, uids = run[0].info, {one.info.uid for one in run}
        files[first.uid] = [file for one in run for file in files[one.info.uid]]
        joined = replace(
            first,
            kind="ctp",
            files=tuple(file.path for file in files[first.uid]),
            frames=sum(one.info.frames for one in run),
        )
        out = [joined if one.uid == first.uid else one for one in out if one.uid == first.uid or one.uid not in uids]
        found = f"{len(run)} series of one time each, {run[-1].start_s - run[0].start_s:.1f} s from first to last"
        where = f"{first.files[0].parent}: series {first.number or first.uid}"
        findings.append(Finding("E-DCM-60", WARNING, where, found, "nothing", "series are joined to one in time"))
    return out, findings


def _volume(info: SeriesInfo, files: Sequence[DicomFile]) -> _Volume | None:
    try:
        frames = [frame for file in files for frame in frames_of(file)]
    except IslesError:
        return None
    key = next((key for key in _TIMES if all(key in frame.times_us for frame in frames)), None)
    if key is None:
        return None
    first = frames[0]
    look = (*(round(x, 4) for x in first.orientation), *(round(x, 5) for x in first.spacing))
    same = (info.study_uid, files[0].text("FrameOfReferenceUID"), info.rows, info.columns)
    return _Volume(info, (*same, look, key), min(frame.times_us[key] for frame in frames) / 1e6)


def _runs(group: Sequence[_Volume]) -> list[list[_Volume]]:
    """Return the groups of volumes that follow one another at once, in time; none where two share a time."""
    runs: list[list[_Volume]] = []
    for volume in sorted(group, key=lambda one: (one.start_s, one.info.uid)):
        if runs and volume.start_s - runs[-1][-1].start_s <= LONGEST_GAP_S:
            runs[-1].append(volume)
        else:
            runs.append([volume])
    return [run for run in runs if len(run) >= FEWEST_SERIES and len({one.start_s for one in run}) == len(run)]
