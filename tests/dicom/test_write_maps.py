"""Perfusion maps as DICOM parametric maps keep every float32, its place and its unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_isles.dicom.write import publish_maps
from monai_isles.errors import IslesError

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")


def test_numbers_positions_and_units_come_back(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    slices = (np.clip(values, 0, None) * 0.37).astype(np.float32)
    volume = slices.transpose(2, 1, 0)[::-1, ::-1]
    written = publish_maps({"cbf": volume, "tmax": volume / 7}, source, tmp_path / "maps")
    assert [path.name for path in written] == ["cbf.dcm", "tmax.dcm"]
    cbf, tmax = (pydicom.dcmread(path) for path in written)
    for made, wanted in ((cbf, slices), (tmax, slices / np.float32(7))):
        heights = [g.PlanePositionSequence[0].ImagePositionPatient[2] for g in made.PerFrameFunctionalGroupsSequence]
        assert sorted(heights) == pytest.approx([30, 35, 40])
        np.testing.assert_array_equal(made.pixel_array[np.argsort(heights)], wanted)
    for made, unit, quantity in ((cbf, "ml/[100]g/min", "113055"), (tmax, "s", "113084")):
        value = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert value.MeasurementUnitsCodeSequence[0].CodeValue == unit
        assert value.RealWorldValueSlope == 1 and value.RealWorldValueIntercept == 0
        assert value.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == quantity
    assert cbf.SeriesInstanceUID != tmax.SeriesInstanceUID and cbf.ContentQualification == "RESEARCH"


def test_a_map_without_a_unit_or_with_gaps_is_refused(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    volume = values.transpose(2, 1, 0)[::-1, ::-1].astype(np.float32)
    with pytest.raises(IslesError, match="no such map to export") as caught:
        publish_maps({"leakage": volume}, source, tmp_path)
    assert caught.value.code == "E-DCM-44"
    volume[0, 0, 0] = np.nan
    with pytest.raises(IslesError, match="1 NaN or infinite"):
        publish_maps({"cbf": volume}, source, tmp_path)


def test_a_map_that_reads_back_differently_is_not_published(ct_series, tmp_path: Path, monkeypatch) -> None:
    values, source = ct_series
    volume = np.abs(values.transpose(2, 1, 0)[::-1, ::-1]).astype(np.float32)
    monkeypatch.setattr("monai_isles.dicom.source.PlacedFrames.same_as", lambda *_: False)
    with pytest.raises(IslesError, match="DICOM map reads back differently") as caught:
        publish_maps({"cbf": volume}, source, tmp_path / "maps")
    assert caught.value.code == "E-DCM-45" and list((tmp_path / "maps").iterdir()) == []
