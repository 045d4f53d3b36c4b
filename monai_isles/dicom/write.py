"""Write results as DICOM: masks (SEG), parametric maps, numbers (SR), pictures (secondary captures), pages (PDF)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import UID, AlgorithmIdentificationSequence, VOILUTTransformation, sr
from highdicom.color import CIELabColor
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sc import SCImage
from highdicom.seg import Segmentation, SegmentDescription, segread
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import Code, codes
from pydicom.uid import ExplicitVRLittleEndian

from monai_isles import __version__
from monai_isles.dicom.source import (
    CODES,
    MANUFACTURER,
    MODEL,
    TYPE_2,
    Algorithm,
    DicomSource,
    PlacedFrames,
    image_options,
    off_grid,
    quiet,
    stable_uid,
)
from monai_isles.errors import refused

SEGMENTS, QUANTITIES = CODES["segment"], CODES["map"]
PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
SCHEME = "99ISLES"


def publish_seg(
    masks: Mapping[str, np.ndarray],
    source: DicomSource,
    path: str | Path,
    *,
    algorithm: Algorithm,
    rule: Algorithm | None = None,
) -> None:
    """Write the masks as one binary DICOM SEG on the source's slices, verified bit for bit by reading it back.

    Patient and study attributes are copied from the source, as DICOM demands of a derived object; every source slice
    has its frame, empty or not. The series UID and the tracking UIDs follow from the source and the algorithm, so a
    repeated run refers to the same lesion in the same series; the instance UID is new, as its creation time is.

    Shapes: each mask (H, W, D) bool, RAS+, on the grid of ``source.affine``.
    Args:
        masks: by name of ``SEGMENTS``; may overlap.
        algorithm, rule: of the network's mask, and of the threshold masks; one for both without ``rule``.
    Source: DICOM PS3.3 A.51 by highdicom (doi:10.1007/s10278-022-00683-y); ``tests/dicom/test_write_seg.py``.
    """
    _require_known(masks, str(path))
    made = [algorithm if SEGMENTS[name]["network"] else rule or algorithm for name in masks]
    facts = [(by.name, by.version, sorted(by.parameters.items())) for by in made]
    with quiet(path):
        stacked = np.stack([np.asarray(mask).astype(bool) for mask in masks.values()], axis=-1)
        placed = source.place(stacked.astype(np.uint8), channels=len(masks))
        series = str(source.headers[0].SeriesInstanceUID)
        named = enumerate(zip(masks, made, strict=True), start=1)
        seg = Segmentation(
            **source.images,
            segmentation_type="BINARY",
            segment_descriptions=[_describe_segment(number, name, by, series) for number, (name, by) in named],
            series_instance_uid=stable_uid("seg", series, *sorted(masks), *facts),
            series_number=source.series_number(7000),
            series_description="Ischemic stroke masks, research only",
            content_label="STROKE_MASKS",
            omit_empty_frames=False,
            **image_options(placed),
        )
        source.publish(seg, placed, Path(path), "E-DCM-43")


def _require_known(masks: Mapping[str, np.ndarray], where: str) -> None:
    shapes = {np.shape(mask) for mask in masks.values()}
    if not masks or not set(masks) <= set(SEGMENTS):
        raise refused("E-DCM-42", where=where, found=", ".join(masks) or "no mask", segments=", ".join(SEGMENTS))
    if len(shapes) > 1:
        raise off_grid(f"masks of different shapes: {sorted(shapes)}")


def _describe_segment(number: int, name: str, by: Algorithm, series: str) -> SegmentDescription:
    segment = SEGMENTS[name]
    code, meaning = SEGMENTS[by.parameters.get("target", name)]["type"]  # what a rule marks, in place of a network
    rule = Code("THRESHOLD", SCHEME, "Thresholds of perfusion maps")
    family = codes.cid7162.ArtificialIntelligence if "weights_sha256" in by.parameters else rule
    return SegmentDescription(
        segment_number=number,
        segment_label=segment["label"],
        segmented_property_category=codes.cid7150.MorphologicallyAbnormalStructure,
        segmented_property_type=Code(code, "SCT", meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            by.name, family, by.version, source=MANUFACTURER, parameters=dict(by.parameters) or None
        ),
        tracking_id=f"{MANUFACTURER} {name}",
        tracking_uid=stable_uid("tracking", series, name),
        anatomic_regions=[codes.SCT.Brain],
        display_color=CIELabColor.from_string(segment["colour"]),
    )


def publish_maps(maps: Mapping[str, np.ndarray], source: DicomSource, folder: str | Path) -> list[Path]:
    """Write each map as ``<folder>/<key>.dcm``, a parametric map of float32, verified by reading it back.

    The real-world value is the stored one (slope 1, intercept 0), its unit in UCUM. Patient and study attributes are
    copied from the source, as DICOM demands of a derived object.

    Shapes: each map (H, W, D), RAS+, on the grid of ``source.affine``.  Units: those of ``QUANTITIES``.
    Source: DICOM PS3.3 A.75 by highdicom; ``tests/dicom/test_write_maps.py``.
    """
    written = []
    with quiet(folder):
        for key, array in maps.items():
            _require_numbers(key, array, str(folder))
            result = source.place(np.asarray(array, np.float32))
            written.append(Path(folder) / f"{key}.dcm")
            made = _parametric_map(key, source, result)
            source.publish(made, result, written[-1], "E-DCM-45")
    return written


def _require_numbers(key: str, array: np.ndarray, where: str) -> None:
    if key not in QUANTITIES or not np.isfinite(array).all():
        result = f"{key}" if key not in QUANTITIES else f"{key} with {int((~np.isfinite(array)).sum())} NaN or infinite"
        raise refused("E-DCM-44", where=where, found=result, quantities=", ".join(QUANTITIES))


def _parametric_map(key: str, source: DicomSource, result: PlacedFrames) -> ParametricMap:
    values = result.array
    top = float(np.percentile(values[values > 0], 98)) if (values > 0).any() else 1.0
    series, (code, meaning, quantity) = str(source.headers[0].SeriesInstanceUID), QUANTITIES[key]
    mapping = RealWorldValueMapping(
        lut_label=key.upper(),
        lut_explanation=f"{key.upper()} as stored",
        unit=Code(code, "UCUM", meaning),
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=getattr(codes.DCM, quantity),
    )
    made = ParametricMap(
        **source.images,
        series_instance_uid=stable_uid("map", series, key, __version__),
        series_number=source.series_number(7001 + list(QUANTITIES).index(key)),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=top / 2, window_width=top)],
        series_description=f"{key.upper()}, research only",
        content_label=key.upper(),
        **image_options(result),
    )
    made.BodyPartExamined = "BRAIN"  # else DICOM demands a Laterality
    return made


def publish_sr(
    result: Mapping[str, Any], seg: str | Path, source: DicomSource, path: str | Path, *, rule: Algorithm,
    algorithm: Algorithm,
) -> None:  # fmt: skip
    """Write the measurements as a Comprehensive 3D SR (TID 1500), verified by reading it back.

    One group a segment of the SEG, with its tracking identifier and UID, its algorithm and its volume; one group for
    the numbers of the whole head: mismatch, hypoperfusion intensity ratio, CBV index, volumes above each Tmax and
    below each part of the healthy flow, limits of the lesion's volume, the affected side. A number that is not there
    is left out.

    Units: ml, ratios without one.
    Args:
        seg: the SEG of the same masks, that ``publish_seg`` wrote.
        algorithm, rule: of the network's mask, and of the threshold masks.
    Source: DICOM PS3.16 TID 1500 by highdicom; ``tests/dicom/test_write_report.py``.
    """
    with quiet(path):
        headers, made = source.headers, segread(seg)
        report = _measurement_report(result, made, headers, algorithm, rule)
        series = str(headers[0].SeriesInstanceUID)
        uid = stable_uid("sr", series, algorithm.name, algorithm.version, sorted(algorithm.parameters.items()))
        document = sr.Comprehensive3DSR(
            evidence=[*headers, made],
            content=report,
            series_instance_uid=uid,
            series_number=source.series_number(7100),
            sop_instance_uid=UID(),
            specific_character_set=None,
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            series_description="Ischemic stroke measurements, research only",
        )
        document.ManufacturerModelName, document.SoftwareVersions = MODEL, __version__
        document.DeviceSerialNumber = "none"

        def fault(tmp: Path) -> str:
            written, meant = _numbers_in(dcmread(tmp)), _numbers_in(document)
            return "" if written == meant else f"{len(written)} numbers, wrote {len(meant)}"

        source.write(document, Path(path), "E-DCM-48", fault)


def _measurement_report(
    result: Mapping[str, Any], seg: Segmentation, headers: Sequence[Dataset], algorithm: Algorithm, rule: Algorithm
) -> sr.MeasurementReport:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=stable_uid("device", MANUFACTURER, __version__), name=MODEL, manufacturer_name=MANUFACTURER
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    images = [sr.SourceImageForSegmentation(str(header.SOPClassUID), str(header.SOPInstanceUID)) for header in headers]
    groups: list[Any] = []
    for header in seg.SegmentSequence:
        uids, number = (str(seg.SOPClassUID), str(seg.SOPInstanceUID)), int(header.SegmentNumber)
        segment = sr.ReferencedSegment(*uids, number, source_images=images)
        groups.append(_segment_group(result, seg.get_segment_description(number), segment, algorithm, rule))
    text = _head_findings(result)
    numbers = [
        _measurement(Code(code, SCHEME, meaning), value, unit)
        for code, (meaning, value, unit) in _head_numbers(result).items()
    ]
    if numbers or text:
        series = str(seg.SeriesInstanceUID)
        tracking = sr.TrackingIdentifier(uid=stable_uid("tracking", series, "head"), identifier=f"{MANUFACTURER} head")
        groups.append(
            sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking,
                algorithm_id=_algorithm_id(rule),
                finding_sites=[sr.FindingSite(codes.SCT.Brain)],
                measurements=numbers,
                qualitative_evaluations=text,
            )
        )
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTPerfusionHeadWithContrastIV,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _segment_group(
    result: Mapping[str, Any], segment: SegmentDescription, referenced: Any, algorithm: Algorithm, rule: Algorithm
) -> Any:
    name = next(name for name, known in SEGMENTS.items() if known["label"] == segment.segment_label)
    block, key = SEGMENTS[name]["volume"]
    value = (result.get(block) or {} if block else result).get(key)
    measured = [] if value is None else [_measurement(codes.SCT.Volume, float(value), "ml")]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=segment.tracking_uid, identifier=segment.tracking_id),
        referenced_segment=referenced,
        finding_type=segment.segmented_property_type,
        finding_category=segment.segmented_property_category,
        finding_sites=[sr.FindingSite(codes.SCT.Brain)],
        algorithm_id=_algorithm_id(algorithm if SEGMENTS[name]["network"] else rule),
        measurements=measured,
    )


def _algorithm_id(by: Algorithm) -> Any:
    parameters = [f"{name}: {value}" for name, value in by.parameters.items()]
    return sr.AlgorithmIdentification(name=by.name, version=by.version, parameters=parameters or None)


def _measurement(name: Code, value: float, unit: str) -> sr.Measurement:
    return sr.Measurement(name=name, value=value, unit=Code(unit, "UCUM", CODES["unit"][unit]))


def _head_numbers(result: Mapping[str, Any]) -> dict[str, tuple[str, float, str]]:
    """Return the available numbers of the whole head by their code: meaning, value, UCUM unit."""
    perfusion = result.get("perfusion") or {}
    late, low = perfusion.get("tmax_ml") or {}, perfusion.get("rcbf_ml") or {}
    results = {
        code: (meaning, float(perfusion[key]), unit)
        for key, (code, meaning, unit) in CODES["number"].items()
        if perfusion.get(key) is not None
    }
    for delay, volume in late.items():
        results[f"TMAX-{delay}"] = (f"Volume with Tmax above {delay} s", float(volume), "ml")
    for part, volume in low.items():
        results[f"RCBF-{part}"] = (f"Volume with CBF below {part} % of the other side", float(volume), "ml")
    for end, volume in zip(("lower", "upper"), result.get("lesion_ml_interval") or (), strict=False):
        results[f"LESION-{end.upper()}"] = (f"Lesion volume, {end} limit (90 %)", float(volume), "ml")
    return results


def _head_findings(result: Mapping[str, Any]) -> list[sr.QualitativeEvaluation]:
    """Return the affected side and whether the target profile is met."""
    perfusion, results = result.get("perfusion") or {}, []
    if perfusion.get("side") in CODES["side"]:
        code, meaning = CODES["side"][perfusion["side"]]
        results.append(sr.QualitativeEvaluation(Code("272741003", "SCT", "Laterality"), Code(code, "SCT", meaning)))
    for key, code in (("defuse3", "DEFUSE-3"), ("dawn", "DAWN")):
        if isinstance(perfusion.get(key), bool):
            name = Code(code, SCHEME, f"{code} target profile")
            answer = ("373066001", "Yes") if perfusion[key] else ("373067005", "No")
            results.append(sr.QualitativeEvaluation(name, Code(answer[0], "SCT", answer[1])))
    return results


def _numbers_in(item: Dataset) -> list[tuple[str, str]]:
    """Return meaning and text, of 16 characters at most, of every number below an item."""
    own = []
    if item.get("ValueType") == "NUM":
        value = item.MeasuredValueSequence[0].NumericValue
        own.append((str(item.ConceptNameCodeSequence[0].CodeMeaning), str(value)))
    return own + [element for child in item.get("ContentSequence", ()) for element in _numbers_in(child)]


def publish_captures(
    pictures: Mapping[str, np.ndarray], source: DicomSource, folder: str | Path, *, titles: Mapping[str, str]
) -> list[Path]:
    """Write each picture as ``<folder>/capture_<name>.dcm``, a secondary capture, verified by reading it back.

    Shapes: pictures (rows, columns, 3) uint8, RGB.
    Source: DICOM PS3.3 A.8.1 by highdicom; ``tests/dicom/test_write_report.py``.
    """
    written = []
    with quiet(folder):
        for number, (name, picture) in enumerate(pictures.items(), 1):
            written.append(Path(folder) / f"capture_{name}.dcm")
            _publish_capture(picture, source, written[-1], number, titles[name])
    return written


def _publish_capture(picture: np.ndarray, source: DicomSource, path: Path, number: int, title: str) -> None:
    image = SCImage.from_ref_dataset(
        source.headers[0],
        np.ascontiguousarray(picture),
        "RGB",
        8,
        "PATIENT",
        series_instance_uid=stable_uid("sc", source.headers[0].SeriesInstanceUID, __version__),
        series_number=source.series_number(7101),
        sop_instance_uid=UID(),
        specific_character_set=None,
        instance_number=number,
        manufacturer=MANUFACTURER,
        patient_orientation=("L", "P"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    image.BodyPartExamined = "BRAIN"  # else DICOM demands a Laterality
    image.SeriesDescription, image.ImageComments = "Ischemic stroke pictures, research only", title
    image.BurnedInAnnotation, image.ManufacturerModelName, image.SoftwareVersions = "NO", MODEL, __version__

    def fault(tmp: Path) -> str:
        same = np.array_equal(dcmread(tmp).pixel_array, picture)
        return "" if same else f"other pixels than the picture of {picture.shape}"

    source.write(image, path, "E-DCM-48", fault)


def publish_pdf(pdf: bytes, source: DicomSource, path: str | Path, *, title: str) -> None:
    """Write a PDF as an Encapsulated PDF object of the source's patient and study, verified by reading it back.

    Source: DICOM PS3.3 A.45.1; ``tests/dicom/test_write_report.py``.
    """
    if not pdf.startswith(b"%PDF-"):
        raise refused("E-DCM-48", where=str(path), found=f"{len(pdf)} bytes that are no PDF")
    with quiet(path):
        document = _encapsulate(pdf, source, title)

        def fault(tmp: Path) -> str:
            again = dcmread(tmp)
            same = bytes(again.EncapsulatedDocument)[: again.EncapsulatedDocumentLength] == pdf
            return "" if same else "other bytes than the PDF"

        source.write(document, Path(path), "E-DCM-48", fault)


def _encapsulate(pdf: bytes, source: DicomSource, title: str) -> Dataset:
    document, first, now = Dataset(), source.headers[0], datetime.datetime.now()
    document.file_meta = FileMetaDataset()
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.SOPClassUID, document.SOPInstanceUID = PDF_STORAGE, UID()
    for name in (*TYPE_2, "StudyInstanceUID"):
        setattr(document, name, first.get(name, ""))
    document.SpecificCharacterSet = "ISO_IR 192"
    document.Modality, document.ConversionType = "DOC", "WSD"
    document.SeriesInstanceUID = stable_uid("pdf", first.SeriesInstanceUID, __version__)
    document.SeriesNumber, document.InstanceNumber = source.series_number(7102), 1
    document.SeriesDescription = "Ischemic stroke report, research only"
    document.Manufacturer, document.ManufacturerModelName = MANUFACTURER, MODEL
    document.SoftwareVersions, document.DeviceSerialNumber = __version__, "none"
    document.ContentDate, document.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    document.AcquisitionDateTime, document.BurnedInAnnotation = "", "NO"
    document.DocumentTitle, document.ConceptNameCodeSequence = title, []
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    document.EncapsulatedDocumentLength = len(pdf)
    return document
