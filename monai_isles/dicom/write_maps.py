"""Write perfusion maps as DICOM parametric maps, with numbers and units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from highdicom import VOILUTTransformation, Volume, imread
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.sr.codedict import Code, codes

from monai_isles import __version__
from monai_isles.dicom.source import CODES, DicomSource, TiltedFrames, image_options, quiet, stable_uid
from monai_isles.errors import refused

QUANTITIES = CODES["map"]


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
            options = {"dtype": np.float64, "apply_real_world_transform": True}
            source.publish(made, result, written[-1], "E-DCM-45", imread, **options)
    return written


def _require_numbers(key: str, array: np.ndarray, where: str) -> None:
    if key not in QUANTITIES or not np.isfinite(array).all():
        result = f"{key}" if key not in QUANTITIES else f"{key} with {int((~np.isfinite(array)).sum())} NaN or infinite"
        raise refused("E-DCM-44", where=where, found=result, quantities=", ".join(QUANTITIES))


def _parametric_map(key: str, source: DicomSource, result: Volume | TiltedFrames) -> ParametricMap:
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
