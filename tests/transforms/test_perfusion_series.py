"""The perfusion stage follows equations (2) and (3), names every fallback, and ends as six frames."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.io.findings import collect_remarks
from monai_isles.io.reader import LoadVerifiedd
from monai_isles.perfusion import perfusion_maps
from monai_isles.perfusion.maps import measured_maps
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.transforms import PerfusionWindowd, ResampleLiked, SeriesMeasuredd, TemporalMIPd, perfusion_window
from monai_isles.transforms.intensity import spacing_of
from monai_isles.transforms.perfusion_series import times_of
from tests.fixtures.shared import Simulated

FLAT_5, RISE_6, FALL_7 = [0.0] * 5, [1.0, 3, 6, 10, 13, 15], [14.0, 12, 9, 6, 4, 3, 2]


def bolus(frames: int, arrival: int) -> np.ndarray:
    """A gamma-variate whose last flat frame is ``arrival``; it peaks 6 frames later and falls to the end."""
    t = np.clip(np.arange(frames) - arrival, 0, None) / 6
    return t**3 * np.exp(3 * (1 - t))


def test_start_and_end_by_hand() -> None:
    curve = FLAT_5 + RISE_6 + FALL_7 + [5.0, 6.0]
    window = perfusion_window(np.array(curve))
    assert (window.t_s, window.t_e, window.fallbacks) == (4, 17, ())  # last flat frame, last falling frame


def by_the_letter(q: np.ndarray, k: int) -> tuple[int | None, int | None]:
    last = len(q)
    starts = [t for t in range(last - k) if all(q[t + i + 1] - q[t + i] > 0 for i in range(k))]
    ends = [t for t in range(k, last) if all(q[t - i] - q[t - i - 1] < 0 for i in range(k))]
    return min(starts, default=None), max(ends, default=None)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_equations_written_out_as_sets_agree(k: int) -> None:
    rng = np.random.default_rng(k)
    for frames in (8, 20, 43, 64):
        q = np.cumsum(rng.normal(size=frames))
        t_s, t_e = by_the_letter(q, k)
        window = perfusion_window(q, k)
        assert ("no_rise" in window.fallbacks) == (t_s is None) and ("no_fall" in window.fallbacks) == (t_e is None)
        t_s, t_e = 0 if t_s is None else t_s, frames - 1 if t_e is None else t_e
        assert (window.t_s, window.t_e) == ((t_s, t_e) if t_s < t_e else (0, frames - 1))


@pytest.mark.parametrize("frames", range(43, 65))
def test_every_length_of_the_challenge_is_cut_at_the_bolus(frames: int) -> None:
    window = perfusion_window(bolus(frames, 9))
    assert (window.t_s, window.t_e, window.fallbacks) == (9, frames - 1, ())


def test_a_series_that_starts_after_the_bolus_says_so() -> None:
    window = perfusion_window(bolus(60, 3)[12:])
    assert (window.t_s, window.t_e, window.fallbacks) == (0, 47, ("no_rise",))


def test_a_series_cut_before_the_wash_out_says_so() -> None:
    window = perfusion_window(bolus(60, 9)[:16])
    assert (window.t_s, window.t_e, window.fallbacks) == (9, 15, ("no_fall",))


def test_a_fall_before_the_rise_takes_the_whole_series() -> None:
    window = perfusion_window(np.array([9.0, 8, 7, 6, 5, 4, 4, 5, 6, 7, 8, 9]))
    assert (window.t_s, window.t_e, window.fallbacks) == (0, 11, ("crossed",))


def test_a_flat_series_is_neither_rise_nor_fall() -> None:
    window = perfusion_window(np.full(45, 3.0))
    assert (window.t_s, window.t_e, window.fallbacks) == (0, 44, ("no_rise", "no_fall"))


def test_noise_gives_a_window_inside_the_series() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        window = perfusion_window(rng.normal(size=int(rng.integers(43, 65))))
        assert 0 <= window.t_s < window.t_e


def test_a_simulated_scan_is_cut_before_its_peak(simulated: Simulated) -> None:
    scan = simulated(1, 2018)
    inside = scan.ctp[:, scan.images["cbf"] > 0].mean(1)
    window = perfusion_window(scan.ctp.reshape(len(scan.ctp), -1).sum(1, dtype=float))
    reach = inside - inside[:4].mean()
    assert window.fallbacks == () and reach[window.t_s] < 0.1 * reach.max() and window.t_e > inside.argmax()


def test_six_frames_lie_evenly_on_the_window_and_the_rest_stays() -> None:
    curve = np.array(FLAT_5 + RISE_6 + FALL_7)  # window 4 to 17: every 2.6 frames
    series = MetaTensor(torch.from_numpy(curve).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 2).float(), affine=torch.eye(4))
    out = PerfusionWindowd("ctp", names="frames")({"ctp": series, "case": "case_1"})
    expected = np.interp(4 + 2.6 * np.arange(6), np.arange(18), curve)
    assert out["frames"].shape == (6, 3, 4, 2) and torch.equal(out["frames"].affine, series.affine)
    assert np.allclose(out["frames"][:, 1, 2, 1], expected, atol=1e-5)
    assert out["ctp"] is series
    assert out["ctp_window"] == {"t_s": 4, "t_e": 17, "fallbacks": (), "curve": (24 * curve).tolist()}


def test_a_window_of_exactly_six_frames_is_not_interpolated() -> None:
    curve = torch.tensor([0.0, 4, 5, 1, 0, 0.0])
    series = curve.reshape(-1, 1, 1, 1).expand(-1, 2, 2, 1)
    out = PerfusionWindowd("ctp", k=2)({"ctp": series})["ctp"]
    assert torch.equal(
        out[:, 0, 0, 0], torch.from_numpy(np.interp([0, 0.8, 1.6, 2.4, 3.2, 4], range(6), curve)).float()
    )
    rising = torch.arange(6.0).reshape(-1, 1, 1, 1).expand(-1, 2, 2, 1)
    assert torch.equal(PerfusionWindowd("ctp")({"ctp": rising})["ctp"], rising)


def test_a_series_shorter_than_one_run_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-TPW-01.*too short.*\n.*case_3: ctp\n.*5 frames"):
        PerfusionWindowd("ctp")({"ctp": torch.zeros(5, 2, 2, 1), "case": "case_3"})
    assert perfusion_window(np.arange(6.0)).t_e == 5


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-TPW-02.*not finite.*\n.*\n.*1 of 45"):
        perfusion_window(np.r_[np.nan, np.zeros(44)])


@pytest.mark.parametrize("setting", [{"frames": 1}, {"names": ("a", "b")}])
def test_settings_that_make_no_sense_are_refused(setting: dict) -> None:
    with pytest.raises(IslesError, match=r"E-TPW-03.*is not valid"):
        PerfusionWindowd("ctp", **setting)


MAPS = ("cbf", "cbv", "mtt", "tmax")


@pytest.fixture(scope="module")
def scan(simulated: Simulated) -> dict[str, object]:
    """A simulated scan of two slices: CT, maps and series."""
    made = simulated(1, 5)
    affine = torch.diag(torch.tensor([*made.spacing_mm, 1.0], dtype=torch.float64))
    images = {key: MetaTensor(torch.from_numpy(made.images[key])[None].float(), affine=affine) for key in ("ct", *MAPS)}
    series = MetaTensor(torch.from_numpy(np.asarray(made.ctp)).float(), affine=affine, meta={"dt_s": made.dt_s})
    return {"case": "one", **images, "ctp": series}


@pytest.fixture(scope="module")
def beside(scan: dict) -> dict:
    """The scan with maps and series, its series measured."""
    return SeriesMeasuredd(times=12)(dict(scan))


def test_a_series_alone_gives_its_own_maps_a_ct_and_curves(scan: dict) -> None:
    out = SeriesMeasuredd()({"case": "one", "cbf": scan["cbf"], "ctp": scan["ctp"]})  # one map of four is none
    spacing = tuple(float(size) for size in scan["ctp"].pixdim)
    wanted = perfusion_maps(np.asarray(scan["ctp"]), scan["ctp"].meta["dt_s"], spacing_mm=spacing)
    for key in MAPS:
        np.testing.assert_allclose(out[f"{key}_measured"][0], getattr(wanted, key), atol=1e-3)
    assert out["groups"] == dict.fromkeys(("ct", "maps"), "measured from the series") | {"series": "given"}
    assert out["curves"].shape == (16, *scan["ct"].shape[1:]) and not {"ctp", *MAPS} & set(out)
    brain = torch.from_numpy(wanted.brain)
    assert abs(float(out["ct"][0][brain].median()) - 35) < 6


def test_beside_maps_a_series_adds_curves_and_its_own_maps(scan: dict, beside: dict) -> None:
    assert all(beside[key] is scan[key] for key in ("ct", *MAPS)) and len(beside["curves"]) == 12
    alone = SeriesMeasuredd(times=12)({"case": "one", "ctp": scan["ctp"]})
    assert all(torch.equal(beside[key], alone[key]) for key in (*(f"{key}_measured" for key in MAPS), "curves"))
    assert set(beside["groups"].values()) == {"given"}


def write_series(path: Path, series: np.ndarray, affine: np.ndarray, unit: str, times: list[float] | None) -> Path:
    image = nibabel.Nifti1Image(np.moveaxis(np.asarray(series, np.float32), 0, -1), affine)
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, path)
    if times is not None:
        path.with_suffix(".json").write_text(json.dumps({"FrameTimesStart": times}))
    return path


@pytest.mark.parametrize(
    ("name", "times"),
    [("x.CT_4DPWI.1.nii", None), ("s.nii", [0.0, 1, 2, 3, 4, 5, *np.arange(8.0, 95, 3)]), ("t.nii", list(range(35)))],
)
def test_the_times_of_a_file_are_those_of_the_other_commands(
    scan: dict, tmp_path: Path, name: str, times: list[float] | None
) -> None:
    series = scan["ctp"].as_tensor()[:35]
    path = write_series(tmp_path / name, series, scan["ctp"].affine.numpy(), "unknown", times)
    made = SeriesMeasuredd()({"case": "one", "ctp": LoadVerifiedd("ctp")({"ctp": path})["ctp"]})
    stated = np.arange(35.0) if times is None else np.array(times)
    wanted = measured_maps(prepare_series(series, times_s=stated, spacing_mm=spacing_of(scan["ctp"])))
    np.testing.assert_allclose(made["tmax_measured"][0], wanted.tmax, atol=1e-3)


def test_a_series_on_the_grid_of_another_image_keeps_its_times(tmp_path: Path) -> None:
    """The header of the other one states 1 s, as nibabel writes it."""
    times, image, case = [0.0, 1.5, 3.0, 6.0], torch.ones(4, 8, 8, 2), {}
    for key, pixel_mm, unit, stated in (("ct", 4.0, "sec", None), ("ctp", 3.0, "unknown", times)):
        affine = np.diag([pixel_mm, pixel_mm, 5.0, 1.0])
        path = write_series(tmp_path / f"{key}.nii", image, affine, unit, stated)
        case[key] = MetaTensor(image, affine=affine, meta={"filename_or_obj": str(path)})
    moved = ResampleLiked(["ct", "ctp"], allow=True)(case)["ctp"]
    assert moved.meta["filename_or_obj"] == case["ct"].meta["filename_or_obj"]
    np.testing.assert_allclose(times_of(moved), times)


def test_a_series_without_a_clock_leaves_the_maps_and_says_where_to_state_one(scan: dict, tmp_path: Path) -> None:
    path = write_series(tmp_path / "s.nii", scan["ctp"], scan["ctp"].affine.numpy(), "unknown", None)
    loaded = LoadVerifiedd("ctp")({"ctp": path})["ctp"]
    with collect_remarks() as remarks:
        assert SeriesMeasuredd()({**scan, "ctp": loaded})["groups"]["series"] == "absent"
    assert [one.code for one in remarks] == ["E-TIME-01"] and "RepetitionTime" in remarks[0].fix
    with pytest.raises(IslesError, match=r"E-TIME-01(?s:.*)without a unit"):
        SeriesMeasuredd()({"case": "one", "ctp": loaded})
    with pytest.raises(IslesError, match=r"E-TIME-01(?s:.*)no dt_s in the meta data"):
        SeriesMeasuredd()({"case": "one", "ctp": scan["ctp"].as_tensor()})


def test_frames_of_the_perfusion_stage_are_even_in_time(tmp_path: Path) -> None:
    times = [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 18, 21, 24, 27, 30, 33]
    curve = np.interp(times, [0, 3, 12, 33], [0, 0, 9, 2])  # linear between the frames, so 2 s after 10 s it is 9
    path = write_series(tmp_path / "s.nii", np.tile(curve[:, None, None, None], (1, 4, 4, 2)), np.eye(4), "sec", times)
    image = LoadVerifiedd("ctp")({"ctp": path})
    made = PerfusionWindowd("ctp", frames=6)(image)["ctp"][:, 0, 0, 0].tolist()
    assert made == pytest.approx(np.interp(np.linspace(3, 33, 6), [0, 3, 12, 33], [0, 0, 9, 2]).tolist(), abs=1e-4)


def test_a_network_gets_maps_of_the_method_that_it_names(scan: dict) -> None:
    series = scan["ctp"]
    made = SeriesMeasuredd(method="bcsvd", smoothing_mm=4.0)({"case": "one", "ctp": series})
    maps = perfusion_maps(
        series.as_tensor(), dt_s=series.meta["dt_s"], spacing_mm=spacing_of(series), method="bcsvd", smoothing_mm=4.0
    )
    assert all(np.array_equal(made[f"{key}_measured"][0].numpy(), getattr(maps, key)) for key in MAPS)


def test_curves_of_slow_tissue_rise_later_and_less(scan: dict, beside: dict) -> None:
    curves = beside["curves"].as_tensor()
    delayed, healthy = scan["tmax"][0] > 8, (scan["tmax"][0] < 3) & (scan["cbf"][0] > 20)
    slow, quick = (curves[:, mask.bool()].mean(1) for mask in (delayed.as_tensor(), healthy.as_tensor()))
    assert int(slow.argmax()) > int(quick.argmax()) and float(slow.max()) < float(quick.max())


@pytest.mark.parametrize("lost", ["cbf", "tmax"])
def test_neither_all_maps_nor_a_series_is_refused(scan: dict, lost: str) -> None:
    case = {key: value for key, value in scan.items() if key not in ("ctp", lost)}
    with pytest.raises(IslesError, match=rf"E-TPW-07(?s:.*)no {lost}"):
        SeriesMeasuredd()(case)
    whole = {key: value for key, value in scan.items() if key not in ("ctp", "ct")}
    assert SeriesMeasuredd()(whole)["groups"] == {"ct": "absent", "maps": "given", "series": "absent"}


def test_a_series_without_a_bolus_leaves_the_maps_and_a_remark(scan: dict) -> None:
    first = scan["ctp"][:1]
    still = {**scan, "ctp": MetaTensor(first.expand(20, -1, -1, -1).clone(), meta=scan["ctp"].meta)}
    with collect_remarks() as remarks:
        out = SeriesMeasuredd()(still)
    assert [one.code for one in remarks] == ["E-PERF-03"] and remarks[0].fix.endswith("without the series")
    assert out["groups"] == {"ct": "given", "maps": "given", "series": "absent"} and "curves" not in out
    with pytest.raises(IslesError, match="E-PERF-03"):
        SeriesMeasuredd()({"case": "one", "ctp": still["ctp"]})


@pytest.mark.parametrize("torn", [20, -1])
def test_a_torn_frame_is_repaired_and_remarked_by_every_image_made_of_a_series(scan: dict, torn: int) -> None:
    damaged = scan["ctp"].clone()
    damaged[torn, :, :120] = 3000
    makers = {"mip": TemporalMIPd("ctp"), "frames": PerfusionWindowd("ctp", names="frames"), "ct": SeriesMeasuredd()}
    brain = scan["cbf"][0] > 0
    for name, make in makers.items():
        clean = make({"case": "one", "ctp": scan["ctp"]})[name]
        with collect_remarks() as remarks:
            made = make({"case": "one", "ctp": damaged})[name]
        assert (made - clean)[:, brain].abs().mean() < 3  # HU
        assert [(r.code, r.severity) for r in remarks if "torn" in r.found] == [("E-PERF-11", "warning")]
