"""Write masks as a DICOM SEG for display over the original series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription, segread
from pydicom.sr.codedict import Code, codes

from monai_isles.dicom.source import (
    CODES,
    MANUFACTURER,
    Algorithm,
    DicomSource,
    image_options,
    off_grid,
    quiet,
    stable_uid,
)
from monai_isles.errors import refused

SEGMENTS = CODES["segment"]


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
        source.publish(seg, placed, Path(path), "E-DCM-43", segread, dtype=np.uint8)


def _require_known(masks: Mapping[str, np.ndarray], where: str) -> None:
    shapes = {np.shape(mask) for mask in masks.values()}
    if not masks or not set(masks) <= set(SEGMENTS):
        raise refused("E-DCM-42", where=where, found=", ".join(masks) or "no mask", segments=", ".join(SEGMENTS))
    if len(shapes) > 1:
        raise off_grid(f"masks of different shapes: {sorted(shapes)}")


def _describe_segment(number: int, name: str, by: Algorithm, series: str) -> SegmentDescription:
    segment = SEGMENTS[name]
    code, meaning = segment["type"]
    rule = Code("THRESHOLD", "99ISLES", "Thresholds of perfusion maps")
    family = codes.cid7162.ArtificialIntelligence if segment["network"] else rule
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
