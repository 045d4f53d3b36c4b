"""A case that cannot be read or prepared is left out and named; the others are sampled as if it had not been there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from monai.data import Dataset

from monai_isles.errors import IslesError, refused
from monai_isles.sampling import CachedCases, PatchLoader, SliceLoader
from monai_isles.sampling.cases import left_out_findings
from tests.training.conftest import noise_case

ENTRIES = [{"case": f"case_{n}"} for n in (1, 2, 3)]


def prepare(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if entry["case"] == "case_2":
        raise refused(
            "E-FILE-04", where="case_2: cbf.nii.gz", found="cut after 100 bytes", fault="file is cut", fix="-"
        )
    return noise_case(int(entry["case"][-1]))


def small(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    case = noise_case(int(entry["case"][-1]))
    return {k: v[:, :8] if k != "case" and entry["case"] == "case_1" else v for k, v in case.items()}


def loaders(dataset: Any) -> list[SliceLoader | PatchLoader]:
    return [PatchLoader(dataset, patch=(16, 16), per_case=12, batch_size=8), SliceLoader(dataset, batch_size=2)]


def test_the_batches_are_those_of_the_cases_that_are_left(caplog: pytest.LogCaptureFixture) -> None:
    good = loaders([noise_case(1), noise_case(3)])
    for dataset in (Dataset(ENTRIES, prepare), CachedCases(ENTRIES, prepare)):
        for loader, wanted in zip(loaders(dataset), good, strict=True):
            assert loader.names == ["case_1", "case_3"] and repr(loader) == repr(wanted)
            assert [(one.case, one.code) for one in loader.left_out] == [("case_2", "E-FILE-04")]
            for one, other in zip(loader, wanted, strict=True):
                assert all(torch.equal(one[key], other[key]) for key in other)
    said = [record for record in caplog.records if "left out: case_2: E-FILE-04: file is cut" in record.getMessage()]
    assert len(said) == 3 and {record.levelno for record in said} == {logging.WARNING}  # two loaders, one cache


def test_a_case_that_the_loader_cannot_take_is_left_out_too() -> None:
    loader = PatchLoader(Dataset(ENTRIES, small), patch=(16, 16), per_case=12)
    assert loader.names == ["case_2", "case_3"] and [one.code for one in loader.left_out] == ["E-SAMP-03"]
    assert len(left_out_findings(Dataset(CachedCases(ENTRIES, prepare), noise_case))) == 1


def test_when_no_case_is_left_the_fault_is_raised() -> None:
    for make in (CachedCases, lambda data, how: SliceLoader(Dataset(data, how))):
        with pytest.raises(IslesError, match=r"E-FILE-04: file is cut\n  where case_2: cbf.nii.gz\n  found cut after"):
            make(ENTRIES[1:2], prepare)


@pytest.mark.parametrize("error", [refused("E-FILE-10", where="cache", found="disk is full"), KeyError("a bug")])
def test_a_full_disk_and_a_bug_are_no_faults_of_a_case(error: Exception) -> None:
    def fails(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        if entry["case"] == "case_3":
            raise error
        return noise_case(1)

    with pytest.raises(type(error), match=r"disk is full|a bug"):
        CachedCases(ENTRIES, fails)


@pytest.mark.parametrize(("empty", "told"), [(3, True), (2, False)])
def test_a_training_without_lesions_is_remarked(empty: int, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    cases = [noise_case(n) for n in (1, 2, 3)]
    for case in cases[:empty]:
        case["label"] = 0 * case["label"]
    caplog.set_level(logging.DEBUG, "monai_isles.io.findings")  # a training before may have set INFO
    loaders(cases)
    found = [r for r in caplog.records if "E-LBL-11" in r.getMessage() and "0 of 3 training masks" in r.getMessage()]
    assert len(found) == (2 if told else 0)
    caplog.clear()
    PatchLoader(cases, patch=(16, 16), per_case=12, shuffle=False)
    assert "E-LBL-11" not in caplog.text
