"""A frame that stays unlike the first ones after the head was moved back is told; a still head draws no remark."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from monai_isles.io import read_image
from monai_isles.io.findings import collect_remarks
from monai_isles.workflows.perfusion import (
    MeasuredStudy,
    _not_plain,
    _publish_series,
    _remarks,
    _series_facts,
    maps_of,
)


@pytest.mark.parametrize(("worst", "told"), [(3.0, False), (11.0, True), (50.0, True)])
def test_the_residual_of_the_worst_frame_is_told_with_its_number(worst: float, told: bool) -> None:
    after = np.ones(20)
    after[7] = worst
    prepared = SimpleNamespace(motion=SimpleNamespace(after_hu=after))
    images = SimpleNamespace(notes=(), plain_ct=np.zeros(1))
    flags = _remarks(prepared, images)
    assert [flag.code for flag in flags] == ["registration-residual"] * told
    assert not told or f"frame 8 differs from the first by {worst:.0f} HU" in flags[0].text


def test_without_a_plain_ct_what_stands_in_is_told_and_so_is_one_that_does_not_fit() -> None:
    still = SimpleNamespace(motion=None)
    flags = _remarks(still, SimpleNamespace(notes=("another grid",), plain_ct=None))
    assert [flag.text.split(":")[0] for flag in flags] == ["another grid", "no plain CT on this grid"]
    assert [flag.code for flag in flags] == ["plain-ct", "plain-ct"]


@pytest.mark.parametrize(
    ("brain", "vessel", "reason"),
    [
        (6.0, 10.0, ""),  # another tube voltage, a little movement
        (8.0, 150.0, "its vessels are 150 HU brighter than before the bolus, which adds 300 HU"),
        (-29.0, 0.0, "its brain differs by -29 HU from that of the series"),
    ],
    ids=["plain", "angiogram", "no-ct"],
)
def test_a_still_ct_with_contrast_or_other_numbers_is_not_plain(brain: float, vessel: float, reason: str) -> None:
    rise, baseline, ct = torch.zeros(12, 6, 5, 2), np.full((6, 5, 2), 36.0), np.full((6, 5, 2), 36.0 + brain)
    rise[6, :2, 0, 0], ct[:2, 0, 0] = 300.0, 36.0 + vessel
    found = SimpleNamespace(aif_vox=np.array([[0, 0, 0]]), vof_vox=np.array([[1, 0, 0]]), brain=baseline > 0)
    assert _not_plain(ct, SimpleNamespace(rise_hu=rise, baseline_hu=baseline), found) == reason


def test_the_page_is_told_whether_the_scan_was_long_enough_its_coverage_and_its_voltage() -> None:
    record = {"scan": {"seconds": 49.0, "wanted_s": 41.5}, "tube_kv": 80.0, "coverage": {"mm": 40.0, "slices": 8}}
    facts = _series_facts(record)
    assert facts["coverage"] == "40 mm, brain in 8 slices" and facts["tube voltage"] == "80 kV"
    assert facts["scan length"].startswith("49 s, long enough: 41.5 s wanted")
    short = _series_facts({**record, "scan": {"seconds": 30.0, "wanted_s": 41.5}, "tube_kv": None})
    assert short["scan length"].startswith("30 s, too short") and "tube voltage" not in short
    assert "scan length" not in _series_facts({**record, "scan": {"seconds": 30.0, "wanted_s": None}})


@pytest.mark.parametrize(
    ("ct", "series", "left"),
    [
        ("plain CT, HU", True, {"ct", "ttp", "ctp"}),
        ("mean before the bolus, HU", True, {"ttp", "ctp"}),
        ("mean before the bolus, HU", False, {"ct", "cbf", "cbv", "mtt", "tmax", "ttp"}),
    ],
    ids=["plain-ct", "series-alone", "bundle-of-maps"],
)
def test_a_bundle_that_measures_the_series_gets_no_maps_beside_it(ct: str, series: bool, left: set[str]) -> None:
    entry = {key: path for key, path in maps_of("a", Path("out"), series=series).items() if key != "brain"}
    study = MeasuredStudy(entry, {"ct": ct}, (), simulated=True)
    optional = ("ct", "cbf", "cbv", "mtt", "tmax", "ctp")
    assert set(study.network_entry(optional)) == {"case", "subject", *left}
    assert study.network_entry(()) == entry


def test_the_series_for_a_network_is_read_back_without_a_remark_on_padding(tmp_path: Path) -> None:
    baseline = np.full((8, 8, 2), -1000.0, np.float32)
    baseline[2:6, 2:6] = 40.0
    rise = torch.zeros(12, 8, 8, 2)
    rise[3, 0, 0, 0], rise[:, 3, 3, 0] = -58.0, torch.linspace(0, 30, 12)
    prepared = SimpleNamespace(rise_hu=rise, baseline_hu=baseline, dt_s=1.5)
    _publish_series(tmp_path / "ctp.nii.gz", prepared, SimpleNamespace(native_affine=np.diag([1.0, 1.0, 5.0, 1.0])))
    with collect_remarks() as remarks:
        series = read_image(tmp_path / "ctp.nii.gz", kind="ctp").data
    assert series[3, 0, 0, 0] == -1024.0 and series[11, 3, 3, 0] == 70.0
    assert [remark for remark in remarks if remark.code == "E-VAL-16"] == []
