"""Process studies from the series to all results, here or on a cluster; if one fails, the others still run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles import __version__
from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.cohort.task import HERE, Place, Record, Task, is_spread, load_in_process, stands_elsewhere
from monai_isles.data.study import find_studies
from monai_isles.dicom.header import read_words
from monai_isles.dicom.source import Algorithm, DicomSource, require_dicom
from monai_isles.errors import refused
from monai_isles.inference.ischaemia import CUTS, case_ischaemia, perfusion_block
from monai_isles.inference.outputs import DERIVATIVES, publish_bids
from monai_isles.inference.predictor import PAIR, UNCHANGED, Choices, Predictor
from monai_isles.io.publish import publish_image, publish_json
from monai_isles.io.read import Image, read_image
from monai_isles.io.runs import RunFolder, read_record, sweep_parts
from monai_isles.modalities import MEASURED_MAPS
from monai_isles.perfusion.quality import LATE_ARTERY, NO_ARTERY
from monai_isles.perfusion.thresholds import dawn_profile
from monai_isles.progress import quiet
from monai_isles.reports.captures import TITLES, captures, pdf_bytes
from monai_isles.reports.page import case_page
from monai_isles.reports.studies import publish_studies
from monai_isles.reports.views import CaseView
from monai_isles.workflows.perfusion import MeasuredStudy, intensity_flags, maps_of, measure_study, run_studies
from monai_isles.workflows.predict import (
    Recipe,
    is_predicted,
    predict_cases,
    prediction_record,
    prediction_stamp,
    recipe_of,
    settle_entropy,
)

# what can be written as DICOM: its files
DICOM_FILES = {
    "seg": ("lesion_seg.dcm",),
    "sr": ("report_sr.dcm",),
    "sc": tuple(f"capture_{name}.dcm" for name in TITLES),
    "pdf": ("report_pdf.dcm",),
    "maps": tuple(f"dicom_maps/{key}.dcm" for key in MEASURED_MAPS),
}
_SEEN = ("ct", "cbf", "cbv", "mtt", "tmax")
_PATIENT = {
    "PatientName": "Name", "PatientID": "Number", "PatientBirthDate": "Born", "PatientSex": "Sex", "StudyDate": "Study",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Hold which results to write besides those of every prediction.

    Args:
        report, viewer: write the page, with the viewer ``small`` or ``niivue``.
        dicom: names of ``DICOM_FILES``, written where the source is DICOM; ``sr`` has a SEG with it.
        show_patient: print the patient's name, number, birth date, sex and study date on the page, and only there.
        metadata: of the bundle.
        dawn: age in years and NIHSS, for the DAWN profile of one study; they are used and not kept.
    """

    report: bool = True
    dicom: tuple[str, ...] = ("seg",)
    show_patient: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)
    viewer: str = "small"
    dawn: tuple[float, float] | None = None

    def files(self, measured: MeasuredStudy) -> list[str]:
        """Return the file names of a finished case."""
        results = ["result.json", "lesion.nii.gz", *(["report.html"] if self.report else [])]
        if measured.slices:
            results += [name for kind in self.objects for name in DICOM_FILES[kind]]
        return results

    @property
    def page(self) -> dict[str, object]:
        """Return what ``result.json`` states of the page."""
        return {"patient_shown": self.show_patient} | ({"viewer": self.viewer} if self.report else {})

    @property
    def objects(self) -> list[str]:
        """Return the written names of ``DICOM_FILES``, in its order; a report needs the segments of a SEG."""
        return [kind for kind in DICOM_FILES if kind in self.dicom or (kind == "seg" and "sr" in self.dicom)]


def publish_results(
    measured: MeasuredStudy, maps: Mapping[str, Any], result: dict[str, object], folder: Path, wanted: Wanted
) -> None:
    """Write masks, page and DICOM of one case and add ``quality`` to its ``result``, which is changed in place."""
    images = {key: read_image(str(measured.entry[key]), kind=key) for key in _SEEN}
    arrays = {key: image.data for key, image in images.items()}
    found, rule_flags = _rule_results(measured, result, wanted)
    masks = {"lesion": np.asarray(maps["lesion"][0]) > 0, **found}
    for name, mask in found.items():
        publish_image(folder / f"{name}.nii.gz", mask, images["ct"], dtype="uint8", description=name)
    brain = np.sum([arrays[key] for key in _SEEN[1:]], axis=0) > 0
    flags = [asdict(flag) for flag in intensity_flags(arrays, brain, wanted.metadata)]
    result["quality"] = [*measured.record["flags"], *flags, *rule_flags]
    remarks = ("kind", "source_sha256", "ct", "frames", "dt_s", "times_from", "tube_kv", "scan", "settings", "coverage")
    result["source"] = {key: measured.record.get(key) for key in remarks} | {"simulated": measured.simulated}
    result |= wanted.page
    volumes = {key: np.asarray(maps[key][0]) for key in ("probability", "uncertainty") if key in maps}
    ttp = {"ttp": read_image(str(measured.entry["ttp"]), kind="ttp").data}
    view = _view(measured, arrays | ttp | volumes | masks, images["ct"], result, wanted)
    if wanted.report:
        case_page(view, folder / "report.html", viewer=wanted.viewer)
    else:  # a former page may name the patient
        (folder / "report.html").unlink(missing_ok=True)
    if measured.slices and wanted.dicom:
        _publish_dicom(measured, masks, images["ct"].affine, view, folder, wanted)


def _rule_results(
    measured: MeasuredStudy, result: dict[str, Any], wanted: Wanted
) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """Complete ``perfusion`` of the result; return the masks of the threshold rules, and flags on them.

    A bundle that reads the series alone has no block of its own: the rules are applied to the maps measured here.
    """
    block: dict[str, Any] = result.get("perfusion") or perfusion_block(measured.entry) or {}
    result["perfusion"] = block
    if any(flag["code"] == LATE_ARTERY for flag in measured.record["flags"]):
        block = result["perfusion"] = {"not_computed": NO_ARTERY}
    if "not_computed" in block:
        return {}, [{"code": "no-core", "severity": "warning", "text": str(block["not_computed"])}]
    if "core_ml" not in block:
        return {}, []
    if wanted.dawn is not None:
        result["perfusion"] = block | {"dawn": dawn_profile(block["core_ml"], *wanted.dawn)}
    text = "the head could not be laid on its own mirror image: the sides are split at the middle of the brain"
    flags = [{"code": "midline", "severity": "warning", "text": text}] if block.get("midline") == "centroid" else []
    found = case_ischaemia(measured.entry, {key: float(block[key]) for key in CUTS})
    names = ("core", "hypoperfused", "penumbra")
    return {name: getattr(found[0], name) for name in names} if found else {}, flags


def _view(
    measured: MeasuredStudy, arrays: Mapping[str, np.ndarray], like: Image, result: Mapping[str, object],
    wanted: Wanted,
) -> CaseView:  # fmt: skip
    record = measured.record
    used, kind = record["settings"], str(record["kind"])
    facts = {
        "source": {"dicom": "DICOM", "nifti": "NIfTI"}.get(kind, kind),
        "CT shown": str(record["ct"]),
        **{name: str(value) for name, value in record["series"].items()},
        "maps": f"{used['method']} {used['truncation']:g}, smoothed over {used['smoothing_mm']:g} mm",
        "source SHA-256": str(record["source_sha256"]),
    }
    patient = _patient(measured.slices[0]) if wanted.show_patient and measured.slices else {}
    about = {"result": result, "record": record, "series": facts, "patient": patient, "simulated": measured.simulated}
    return CaseView.of(str(measured.entry["case"]), arrays, like, **about)


def _publish_dicom(
    measured: MeasuredStudy, masks: Mapping[str, np.ndarray], affine: np.ndarray, view: CaseView,
    folder: Path, wanted: Wanted,
) -> None:  # fmt: skip
    require_dicom()
    from monai_isles.dicom.write import publish_captures, publish_maps, publish_pdf, publish_seg, publish_sr

    source, objects, result = DicomSource(measured.slices, affine), wanted.objects, view.result
    settings = {key: str(result[key]) for key in (*PAIR, "target") if result.get(key) is not None}
    if weights := ", ".join(map(str, result["weights_sha256"])):
        settings = {"weights_sha256": weights, **settings}
    version = str(wanted.metadata.get("version") or __version__)
    network = Algorithm(str(result["bundle"]), version, settings)
    cuts = {key: str(value) for key, value in (result.get("perfusion") or {}).items() if key in CUTS}
    by = {"algorithm": network, "rule": Algorithm("thresholds of CBF and Tmax", parameters=cuts)}
    path = {kind: folder / names[0] for kind, names in DICOM_FILES.items()}
    if "seg" in objects:
        publish_seg(masks, source, path["seg"], **by)
    if "sr" in objects:
        publish_sr(result, path["seg"], source, path["sr"], **by)
    if "sc" in objects:
        publish_captures(captures(view), source, folder, titles=TITLES)
    if "pdf" in objects:
        publish_pdf(pdf_bytes(view), source, path["pdf"], title=TITLES["summary"])
    if "maps" in objects:
        volumes = {key: read_image(str(measured.entry[key]), kind=key).data for key in MEASURED_MAPS}
        publish_maps(volumes, source, folder / "dicom_maps")


def _patient(file: Path) -> dict[str, str]:
    texts = read_words(file, list(_PATIENT)) or ()
    return {label: text for label, text in zip(_PATIENT.values(), texts, strict=False) if text}


def predict_series(
    paths: Sequence[str | Path],
    out: Path,
    *,
    bundle: Bundle,
    choices: Choices = UNCHANGED,
    wanted: Wanted | None = None,
    series: str | None = None,
    entropy: bool = False,
    bids: bool = False,
    place: Place = HERE,
    strict: bool = False,
    **reading: Any,
) -> dict[str, Any]:
    """Measure and predict every study into ``out/<study>`` and return the content of ``out/run.json``.

    Finished parts of a study are kept. ``reading`` is ``dt_s``, ``resample`` and ``slab_mm`` of ``measure_study``.
    """
    config = bundle.config("inference")
    changes, modalities = choices.changes(config.get(), bundle), config["modalities"]
    require_given(modalities, bundle)
    recipe = recipe_of(bundle, out, choices=choices, changes=changes, elsewhere=stands_elsewhere(place))
    predictor = recipe.load()
    metadata = bundle.metadata_of(list(predictor.weights.values()))
    wanted = replace(wanted or Wanted(), metadata=metadata)
    studies = find_studies(paths, series=series)
    if wanted.dawn is not None and len(studies) != 1:
        raise refused("E-USE-81", where="--age and --nihss", found=f"{len(studies)} studies")
    reading["series"] = "ctp" in modalities
    work = partial(
        process_study, recipe=recipe, predictor=None if is_spread(place) else predictor, wanted=wanted,
        reading=reading, optional=case_keys(config)["optional"], entropy=entropy,
    )  # fmt: skip
    place = {"gpus": int(predictor.device.type == "cuda"), **place}
    with RunFolder(out) as held:
        records = run_studies(work, studies, place=place, title="series", unit="study", strict=strict)
        sweep_parts(recipe.out)
        if bids or (out / DERIVATIVES).is_dir():
            done = [name for name, item in records.items() if item["outcome"] != "failed"]
            publish_bids(out, [maps_of(name, out, series=reading["series"]) for name in done])
        record = prediction_record("prediction from series", predictor, records)
        publish_studies(out, record, metadata.get("references") or (), wanted=wanted.report)
        held.finish(record)
    return record


def require_given(modalities: Sequence[str], bundle: Bundle) -> None:
    """Refuse a bundle with inputs that a series does not provide."""
    missing = [key for key in modalities if key not in (*_SEEN, "ttp", "ctp")]
    if missing:
        raise refused("E-SCAN-04", where=str(bundle.root), found=", ".join(missing))


def process_study(
    task: Task, *, recipe: Recipe, predictor: Predictor | None, wanted: Wanted, reading: Mapping[str, Any],
    optional: Sequence[str], entropy: bool,
) -> Record:  # fmt: skip
    """Process the study of a task with the given predictor, or with the one cached in this process."""
    predictor = replace(predictor or load_in_process(recipe), trained={})  # ``quality`` names unlike intensities
    folder = recipe.out / task.case
    with quiet():
        measured = measure_study(task.about, task.case, recipe.out, device=str(predictor.device), **reading)
        entry = measured.network_entry(optional)
        current = is_predicted(folder, prediction_stamp(predictor, entry))
        _mark_unfinished(folder, measured, wanted)

        def after(entry: Mapping[str, object], maps: Mapping[str, object], result: dict[str, object]) -> None:
            for name in () if current else sum(DICOM_FILES.values(), ()):  # of another result
                (folder / name).unlink(missing_ok=True)
            publish_results(measured, maps, result, folder, wanted)

        record = predict_cases(predictor, [entry], folder.parent, after=after, strict=True)[task.case]
        settle_entropy(folder, record, wanted=entropy)
    return record


def _mark_unfinished(folder: Path, measured: MeasuredStudy, wanted: Wanted) -> None:
    """Let a case be predicted again that lacks a wanted result, or whose inputs are not kept."""
    record = read_record(folder / "result.json")
    complete = all((folder / name).is_file() for name in wanted.files(measured))
    shown = all(record.get(key) == value for key, value in wanted.page.items())
    if record and (wanted.dawn is not None or not shown or not complete):
        publish_json(folder / "result.json", record | {"maps_sha256": None})
