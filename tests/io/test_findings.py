"""How remarks reach the log: the first of a code in full, the others for debugging, then how many there were."""

from __future__ import annotations

import logging

import pytest

from monai_isles.io.findings import WARNING, collect_remarks, finding, tell, tell_counts


def test_a_remark_of_many_cases_is_a_warning_once_and_counted_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "monai_isles.io.findings"), collect_remarks() as remarks:
        for n in range(3):
            tell(finding("E-VAL-13", WARNING, where=f"case_{n}", found="5 NaN of 9 voxels"))
        tell(finding("E-LBL-02", WARNING, where="case_0", found="0 lesion voxels"))
        tell_counts()
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG", "WARNING", "WARNING"]
    assert "case_0" in caplog.messages[0] and caplog.messages[-1].startswith("E-VAL-13: 3 times in this run")
    assert len(remarks) == 4  # every case keeps its own


def test_a_remark_repeated_of_one_place_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    for hold in ("0 of 4", "0 of 3"):  # the data list, then the loader of one training
        tell(finding("E-LBL-11", WARNING, where="training", found=f"{hold} training masks hold a lesion"))
    tell_counts()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["E-LBL-11"]


def test_after_the_counts_a_new_run_warns_again(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        tell(finding("E-LBL-02", WARNING, where="case_0", found="0 lesion voxels"))
        tell_counts()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
