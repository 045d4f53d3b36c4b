"""Find and read one study from the scanner: its perfusion series, a plain CT that fits, and their files."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage

from monai_isles.cohort.task import Record, failed_record, require_own_names
from monai_isles.data.folder import IMAGE, dicom_folders, key_of, walk
from monai_isles.data.layouts import DICOM, PLAIN, scan_layout
from monai_isles.data.scans import Scan, SeriesInput, read_perfusion_series, require_asked
from monai_isles.dicom.find import SeriesInfo, perfusion_series, studies_without
from monai_isles.dicom.header import is_dicom, read_words
from monai_isles.dicom.read import find_series, read_series
from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import UserTimes, sidecar
from monai_isles.io.findings import WARNING, collect_remarks, finding, tell
from monai_isles.io.grid import corners_apart_mm
from monai_isles.io.payload import same_but_packed
from monai_isles.io.read import Image, read_header, read_image

RECORD = "perfusion.json"  # beside maps that were measured here
AIR_HU = -1024.0
_HEAD_HU, _LEAST_SHARE = -200.0, 0.99


def ct_on_grid(
    plain: Image, like: Image, *, resample: bool, one_frame: bool
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the plain CT (H, W, D) on the grid of the series, None if it is not used, and the remarks about it.

    On another grid it is resampled (linear, air outside) if the user requests it or if both share a DICOM frame of
    reference, and only if it covers 99 % of the head in the series; else it is left out, with the distance in mm.
    ``like`` is the first frame of the series.
    """
    if plain.on_grid_of(like):
        return plain.data, ()
    apart = corners_apart_mm(like.affine, like.grid_shape, plain.affine, plain.grid_shape)
    remarks = f"the plain CT lies on another grid (field-of-view corners {apart:.4g} mm apart)"
    if not (resample or one_frame):
        why = "there is no --resample and no common frame of reference"
        return None, (f"{remarks} and was not used: {why}",)
    moved, inside = _resample(plain, like)
    head = like.data > _HEAD_HU
    share = float(inside[head].mean() if head.any() else inside.mean())
    if share < _LEAST_SHARE:
        return None, (f"{remarks} and was not used: it covers {100 * share:.0f} % of the head in the series",)
    reason = "both have one frame of reference" if one_frame else "--resample"
    return moved, (f"{remarks} and was resampled: {reason}",)


def _resample(plain: Image, like: Image) -> tuple[np.ndarray, np.ndarray]:
    onto = np.linalg.solve(plain.affine, like.affine)
    # "nearest": the outer half of the outermost voxels has their value
    moved = ndimage.affine_transform(
        plain.data.astype(np.float32), onto[:3, :3], onto[:3, 3], like.grid_shape, order=1, mode="nearest"
    )
    places = np.moveaxis(np.indices(like.grid_shape), 0, -1) @ onto[:3, :3].T + onto[:3, 3]
    inside = np.all((places >= -0.5) & (places <= np.array(plain.grid_shape) - 0.5), axis=-1)
    return np.where(inside, moved, np.float32(AIR_HU)), inside


_REPAIRED = ("E-VAL-13", "E-VAL-16", "E-VAL-18")


@dataclass(frozen=True)
class StudyFiles:
    """Hold the files of a study; only headers have been read.

    Args:
        name: of its results; it does not identify the patient.
        series: the 4D file, or the folder.
        simulated: the data are the phantom's.
        uid: of the DICOM series that was chosen among several, None where there is one.
        notes: parts of the study that were left out, as sentences.
        fault: the reason why the study cannot be used.
    """

    name: str
    path: Path
    kind: str
    series: Path
    files: tuple[Path, ...]
    plain: str | None = None
    simulated: bool = False
    uid: str | None = None
    notes: tuple[str, ...] = ()
    fault: IslesError | None = None

    def sha256(self) -> str:
        """Return one checksum over the content of all files, and of the JSON file with the times of a NIfTI series."""
        beside = [sidecar(self.series)] if self.kind == "nifti" and sidecar(self.series).is_file() else []
        digests = [hashlib.sha256(file.read_bytes()).digest() for file in (*self.files, *beside)]
        return hashlib.sha256(b"".join(digests)).hexdigest()

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Return the files of a series that was chosen among several, of this study or others; empty where all are."""
        return self.files if self.uid else ()

    def absolute(self) -> StudyFiles:
        """Return the same study with absolute paths, for a process in another folder."""
        plain = str(Path(self.plain).absolute()) if self.plain and self.kind == "nifti" else self.plain
        files = tuple(file.absolute() for file in self.files)
        return replace(self, files=files, plain=plain, path=self.path.absolute(), series=self.series.absolute())


@dataclass(frozen=True)
class StudyImages:
    """Hold a study in memory.

    Shapes: ``series.array`` (T, H, W, D), ``plain_ct`` (H, W, D) on its grid.  Units: HU, s.
    ``notes`` are remarks on the files of the study for the reader of the results.
    """

    series: SeriesInput
    plain_ct: np.ndarray | None
    notes: tuple[str, ...]


def study_places(path: str | Path) -> list[StudyFiles]:
    """Find the studies of a path: one file or folder, or every patient and case below a folder.

    One with a ``fault`` has no files, nor has one of DICOM, whose headers are read by ``find_studies``. A DICOM file
    stands for its series.

    A folder is one study if it holds a 4D file, or DICOM files of one study, also beside 3D NIfTI. In a data set of a
    known layout every case with a series is one; below other folders every folder with one 4D file. If the folders
    inside hold DICOM files of several studies or patients, each folder is searched in turn, unless each series of a
    study has its own. UniToBrain's copies of a patient's scan (``MOL-001_Registered_Filtered_3mm_20HU_Maps`` beside
    ``MOL-001``) are skipped and named in a remark.
    """
    path = Path(path)
    if not path.exists():
        raise refused("E-SCAN-01", where=str(path), found="no such file or folder")
    if path.is_file():
        if path.suffix.lower() in (".zip", ".tar", ".tgz", ".7z", ".rar"):
            raise refused("E-SCAN-01", where=str(path), found="an archive", fix="unpack it, and give the folder")
        if not IMAGE.search(path.name) and is_dicom(path):  # its series, which lies in its folder
            uid = "".join(read_words(path, ("SeriesInstanceUID",)) or ()) or None
            return [StudyFiles("", path.parent, "dicom", path.parent, (), uid=uid)]
        return [_nifti(_plain_name(path), path, path, None)]
    images = sorted(p for p in path.iterdir() if p.is_file() and IMAGE.search(p.name) and not p.name.startswith("."))
    found = _in_folder(path, images)
    if found is not None and (found.fault is None or not any(map(is_dicom, path.iterdir()))):
        return [found]
    if result := _in_data_set(path):
        return result
    if images and not any(map(is_dicom, walk(path))):
        raise refused("E-SCAN-02", where=str(path), found=f"0 NIfTI files with time among {len(images)}")
    return [StudyFiles("", folder, "dicom", folder, ()) for folder in dicom_folders(path)]


def find_studies(paths: Sequence[str | Path], *, series: str | None = None) -> dict[str, StudyFiles | Record]:
    """Return every study by the name of its results, in the order given; an unusable one as its record."""
    results: list[tuple[str, StudyFiles | Record]] = []
    for path in paths:
        try:
            places = study_places(path)
        except Exception as error:
            results.append(("", failed_record(error)))
            continue
        for place in places:
            try:
                results += [(study.name, study) for study in studies_of(place, series)]
            except Exception as error:
                results.append((place.name, failed_record(error)))
    names = name_studies([result for _, result in results if isinstance(result, StudyFiles)])
    left, taken = iter(names), {"", *names}  # a failed one takes no other's name, as of another data set
    found: dict[str, StudyFiles | Record] = {}
    for number, (name, result) in enumerate(results, start=1):
        own = f"study {number}" if name in taken else name
        found[next(left) if isinstance(result, StudyFiles) else own] = result
        taken.add(own)
    return found


def name_studies(studies: Sequence[StudyFiles]) -> list[str]:
    """Return a unique name for each study; equal names are extended by up to four folders above."""
    names = [study.name for study in studies]
    for above in range(4):
        times = Counter(names)
        names = [n if times[n] == 1 else f"{_above(s, above)}_{n}" for s, n in zip(studies, names, strict=True)]
    require_own_names(names, "E-SCAN-03", where="predict-series")
    return names


def read_study(
    study: StudyFiles, *, dt_s: UserTimes = None, resample: bool = False, slab_mm: float | None = None
) -> StudyImages:
    """Read the series and the plain CT; of one on another grid, and of ``resample``, see ``ct_on_grid``."""
    own = study.own_files
    series = read_perfusion_series(study.series, dt_s=dt_s, series=study.uid, slab_mm=slab_mm, files=own)
    if study.plain is None:
        return StudyImages(series, None, study.notes)
    with collect_remarks() as remarks:
        try:
            if study.kind == "nifti":
                plain, other = read_image(study.plain, kind="ct"), ""
            else:
                still = read_series(study.series, series_uid=study.plain, files=own)
                grid = (still.affine, still.spacing_mm, study.path, "", still.affine, still.array.shape)
                plain, other = Image(still.array, *grid), still.frame_of_reference_uid
        except IslesError as error:  # the series alone gives every result
            note = f"the plain CT was left out: {error.code}: {error.fault}: {error.found}"
            return StudyImages(series, None, (*study.notes, note))
    one_frame = series.frame_of_reference_uid == other != ""
    ct, notes = ct_on_grid(plain, series.like, resample=resample, one_frame=one_frame)
    repairs = [f"plain CT: {remark.fault}: {remark.found}" for remark in remarks if remark.code in _REPAIRED]
    return StudyImages(series, ct, (*study.notes, *notes, *repairs))


def _above(study: StudyFiles, level: int) -> str:
    """Return the name of a folder above a study, or a checksum if the name identifies the patient."""
    folders = list(Path(os.path.abspath(study.path)).parents)
    name = _safe(folders[min(level, len(folders) - 1)].name)
    if study.kind == "dicom" and study.files and _names_patient(name, study.files[0]):
        return "study_" + hashlib.sha256(study.files[0].read_bytes()).hexdigest()[:10]
    return name


def studies_of(place: StudyFiles, series: str | None = None) -> list[StudyFiles]:
    """Return a place of ``study_places`` as a study, or the studies of a DICOM folder that holds those of several."""
    if place.fault is not None:
        raise place.fault
    if not place.series.is_file():
        return _dicom(place.series, series or place.uid)
    require_asked(place.series, series)
    return [place]


def _nifti(name: str, path: Path, series: Path, plain: Path | None, notes: tuple[str, ...] = ()) -> StudyFiles:
    files, ct = ((series,), None) if plain is None else ((series, plain), str(plain))
    return StudyFiles(name, path, "nifti", series, files, ct, is_simulated(series), notes=notes)


def _in_folder(path: Path, images: list[Path]) -> StudyFiles | None:
    """Return the study of a folder's images, None where none has time and all can be read, or each is of a case."""
    packed = [b for a, b in pairwise(images) if same_but_packed(a, b)]  # sorted: ``ctp.nii`` before ``ctp.nii.gz``
    images = [image for image in images if image not in packed]
    series, broken = [], dict[Path, IslesError]()
    for image in images:
        try:
            series += [image] if read_header(image).frames is not None else []
        except IslesError as error:
            broken[image] = error
    if not series and not broken:
        return None
    own = [key_of(image.name) or ("", "") for image in (*series, *broken)]
    if len({*own}) == len(own) > 1 and all(key == "ctp" for _, key in own):
        return None  # ``P1_ctp`` and ``P2_ctp`` are a case each
    if len(series) != 1:
        result = f"{len(series)} NIfTI files with time among {len(images)}"
        fault = next(iter(broken.values()), refused("E-SCAN-02", where=str(path), found=result))
        return StudyFiles(_plain_name(path), path, "nifti", path, (), fault=fault)
    others = [item for item in images if item != series[0] and item not in broken]
    plain = next((item for item in others if (key_of(item.name) or ("", ""))[1] == "ct"), None)
    notes = tuple(f"{item.name} was left out: {error.code}: {error.fault}" for item, error in broken.items())
    return _nifti(_plain_name(path), path, series[0], plain, notes)


def _in_data_set(path: Path) -> list[StudyFiles]:
    """Return the studies of a data set in a known layout, else of every folder below with a 4D file; none without.

    Beside cases of plain folders, a 4D file of an unknown name in another patient's folder is a study too. Results of
    former runs in a folder below are none.
    """
    files = [file.absolute() for file in walk(path) if IMAGE.search(file.name)]
    own = {file.parent for file in files if (file.parent / RECORD).is_file()}
    files = [file for file in files if file.parent not in own]
    try:
        layout, scans = scan_layout(path) if files else (DICOM, [])
    except IslesError:
        layout, scans = DICOM, []
    scans = [scan for scan in scans if own.isdisjoint(file.parent for file in scan.files.values())]
    known = layout is not DICOM and any("ctp" in scan.files for scan in scans)
    cases = [_of_scan(scan, path) for scan in scans] if known else []
    if known and layout is not PLAIN:
        return cases
    taken = {_patient(case.series, path) for case in cases if case.fault is None}
    folders = dict.fromkeys(file.parent for file in files if _patient(file, path) not in taken)
    inside = (_in_folder(folder, [file for file in files if file.parent == folder]) for folder in folders)
    results = [result for result in inside if result is not None]
    if not known:
        _tell_without_series(path, files, results)
        return results
    results = [result for result in results if result.fault is None and not key_of(result.series.name)]
    found = {_patient(result.series, path) for result in results}
    homes = [{_patient(file, path) for file in scan.files.values()} for scan in scans]
    return [case for case, home in zip(cases, homes, strict=True) if case.fault is None or not home & found] + results


def _tell_without_series(path: Path, files: Sequence[Path], results: Sequence[StudyFiles]) -> None:
    """Remark the patients whose images hold no series in time, beside those that have one."""
    images = Counter(_patient(file, path) for file in files)
    for name in {"", *(_patient(result.path / "series", path) for result in results)}:
        del images[name]
    if images and results:
        text = "; ".join(f"{name}: {number} images" for name, number in sorted(images.items())[:8])
        tell(finding("E-SCAN-02", WARNING, where=str(path), found=text, fault="images without a 4D file are left out"))


def _patient(file: Path, path: Path) -> str:
    """Return the name of the folder in ``path`` that holds a file; empty for a file in ``path`` itself."""
    parts = Path(os.path.relpath(file, path)).parts
    return parts[0] if len(parts) > 1 else ""


def _of_scan(scan: Scan, path: Path) -> StudyFiles:
    fault, series = scan.fault, scan.files.get("ctp", path)
    if fault is None and ("ctp" not in scan.files or "ctp" in scan.doubled):
        code = "E-LIST-02" if "ctp" not in scan.files else "E-LIST-13"
        fault = refused(code, where=f"{scan.section} {scan.name}", found="ctp")
    if fault is not None:
        return StudyFiles(scan.name, path, "nifti", path, (), fault=fault)
    return _nifti(_safe(scan.name), series.parent, series, scan.files.get("ct"))


def _dicom(path: Path, series: str | None) -> list[StudyFiles]:
    """Return the study of a folder; of a folder that holds several, those with a series in time.

    Two of one patient and one day may be one scan under two numbers: then one series is asked for, as within a study.
    """
    results = [item for item in find_series(path) if item.usable]
    dynamic = [item for item in results if item.kind == "ctp" and item.named(series)]
    dynamic = perfusion_series(dynamic) if series is None else dynamic
    uids = dict.fromkeys(item.study_uid for item in dynamic)
    parts = [[item for item in dynamic if item.study_uid == uid] for uid in uids]
    known = [read_words(part[0].files[0], ("StudyDate", "PatientID")) for part in parts]
    days = {tuple(words) if words and words[0] else (uid,) for words, uid in zip(known, uids, strict=True)}
    if len({item.study_uid for item in results}) == 1 or not uids or len(days) < len(parts):
        return [_dicom_study(path, dynamic, results, series)]
    for remark in studies_without(results, str(path)):
        tell(remark)
    own = [part[0].uid if len(part) == 1 else series for part in parts]  # of several none is taken: it is refused
    return [_dicom_study(path, part, results, uid, mixed=len(parts) > 1) for part, uid in zip(parts, own, strict=True)]


def _dicom_study(
    path: Path, dynamic: list[SeriesInfo], results: list[SeriesInfo], series: str | None, *, mixed: bool = False
) -> StudyFiles:
    """Describe the study of the series in time; one of several in a folder is named by the folder of its series."""
    still = [item for item in results if item.kind == "ct" and dynamic and item.study_uid == dynamic[0].study_uid]
    # without a contrast agent, as a CT angiogram has; then without a maximum or minimum, as over the times of a scan
    bare = [item for item in still if _stated(item.files[0], "ContrastBolusAgent") in ("", "NO", "NONE")]
    flat = [item for item in bare if not re.search(r"MIP|M(?:AX|IN)_IP", _stated(item.files[0], "ImageType"))]
    whole = [item for item in flat if item.places > 1]  # the watch for the bolus begins with a picture of one slice
    plain = next((own[0] for own in (bare, flat, whole) if len(own) == 1), None)
    others = ", ".join(item.number or item.uid for item in still)
    why = f"{len(bare)} may be it" if bare else "a contrast agent was given"
    notes = (f"of the still series ({others}) none was used as the plain CT: {why}",) if still and not plain else ()
    files = [file for item in (*dynamic, *([plain] if plain else [])) for file in item.files]
    place = Path(os.path.commonpath([file.parent for file in dynamic[0].files])) if mixed else path
    name = _plain_name(place)
    own = {item.study_uid for item in results for file in item.files if place in file.parents}
    if files and (_names_patient(name, files[0]) or (mixed and len(own) > 1)):
        name = "study_" + hashlib.sha256(dynamic[0].uid.encode()).hexdigest()[:10]
    simulated, uid = bool(dynamic) and dynamic[0].description.startswith("SIMULATED"), plain.uid if plain else None
    return StudyFiles(name, place, "dicom", path, tuple(sorted(files)), uid, simulated, series, notes)


def _stated(file: Path, keyword: str) -> str:
    return "".join(read_words(file, (keyword,)) or ()).strip().upper()


def _names_patient(name: str, file: Path) -> bool:
    """Return whether a folder's name contains the patient's name or ID in its own images, or may contain it."""
    texts = read_words(file, ("PatientName", "PatientID", "OtherPatientIDs"))
    words = [word for text in texts or () for word in re.split(r"[\W_]+", _folded(text))]
    # one character may be a family name, where the script has one for a syllable or a word
    words = [word for word in words if len(word) >= (3 if word.isascii() else 1)]
    return texts is None or any(word in _folded(name) for word in words)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def is_simulated(path: str | Path) -> bool:
    """Return whether a file lies in a folder of the phantom."""
    return any((folder / "SIMULATED.txt").is_file() for folder in list(Path(path).resolve().parents)[:4])


def _plain_name(path: Path) -> str:
    """Return a name for results: that of a link, not of its target (git-annex stores files under checksums)."""
    return _safe(IMAGE.sub("", os.path.basename(os.path.abspath(path))))


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._")[:80] or "study"
