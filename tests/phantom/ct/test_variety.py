from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.perfusion import perfusion_maps
from monai_isles.perfusion.deconvolution import METHODS
from monai_isles.phantom import dataset_or_phantom, make_case, make_dataset
from monai_isles.phantom.ct import variety as drawing
from monai_isles.phantom.ct.anatomy import Grid, Pose, landmark_pairs
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.ct.subject import protocol_of
from monai_isles.phantom.ct.variety import Variety, draw_variety, matrix_of

MANY = 240


@pytest.fixture(scope="module")
def studies() -> list[Variety]:
    """The draws of many subjects of the training kind."""
    return [draw_variety(index, seed=3, mode="real") for index in range(MANY)]


def test_software_and_scanner_vary_within_the_stated_ranges(studies: list[Variety]) -> None:
    shares = Counter(one.software for one in studies)
    assert {name: count / MANY for name, count in shares.items()} == pytest.approx(
        {name: share for name, (_, _, share) in drawing.SOFTWARES["real"].items()}, abs=0.02
    )
    by_method = {one.method for one in studies}
    assert by_method == {"bcsvd", "osvd", "tikhonov", "ssvd", "bayes"} <= set(METHODS)
    truncations = [one.setting for one in studies if one.software == "truncation"]
    assert min(truncations) < 0.06 and max(truncations) > 0.19 and 0.05 <= min(truncations) <= max(truncations) <= 0.2
    smoothing = [one.smoothing_mm for one in studies]
    assert 1.0 <= min(smoothing) < 1.2 and 5.8 < max(smoothing) <= 6.0
    for scales in ([one.cbf_scale for one in studies], [one.cbv_scale for one in studies]):
        assert 0.6 < min(scales) < 0.7 and 1.4 < max(scales) < 1.7 and np.median(scales) == pytest.approx(1, abs=0.06)
    assert 0.15 < np.mean([one.whole_numbers for one in studies]) < 0.35
    assert {one.kernel for one in studies} == set(drawing.KERNELS["real"])
    assert {one.noise_level for one in studies} == set(drawing.NOISE["real"])
    assert {one.ct_padding for one in studies} == set(drawing.CT_PADDING)
    assert sum(np.isnan(one.map_padding) for one in studies) > 5 and any(one.map_padding == -1024 for one in studies)


def test_patients_vary_within_the_stated_ranges(studies: list[Variety]) -> None:
    assert 0.05 < np.mean([not one.lesion for one in studies]) < 0.13
    assert 0.01 < np.mean([one.craniectomy != 0 for one in studies]) < 0.10
    assert 0.06 < np.mean([one.haemorrhage for one in studies]) < 0.18
    assert 0.15 < np.mean([any(one.cut_mm) for one in studies]) < 0.40
    assert max(max(one.cut_mm) for one in studies) <= 18.0
    assert all(not one.haemorrhage for one in studies if not one.lesion)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_scans_are_those_of_the_release_in_slabs_and_a_quarter_of_their_lesions_is_small(seed: int) -> None:
    subjects = [protocol_of(i, seed=seed, variety="real") for i in range(300)]
    lesions = np.array([p.lesion_ml for p in subjects])
    assert 0.22 < np.mean(lesions < 5.0) < 0.28 and 0.5 <= lesions.min() < 0.6 and 100 < lesions.max() < 260
    for slices, share in drawing.SECOND_SLAB.items():
        slabs = [p.slabs for p in subjects if p.slices == slices]
        chance = (share * (1 - share) / len(slabs)) ** 0.5
        assert np.mean([n == 2 for n in slabs]) == pytest.approx(share, abs=4 * chance)
    in_plane, between = (np.array([p.spacing_mm[axis] for p in subjects]) for axis in (0, 2))
    assert 0.4 <= in_plane.min() < 0.45 and 1.05 < in_plane.max() <= 1.1
    assert 4.0 <= between.min() < 4.5 and 11.5 < between.max() <= 12.0
    for p in subjects:
        size = matrix_of(p.spacing_mm[0])
        assert size * p.spacing_mm[0] >= 204 and size**2 * p.slices <= 512**2 * 8


def test_what_is_held_back_is_never_drawn_for_training(studies: list[Variety]) -> None:
    unseen = [draw_variety(index, seed=3, mode="unseen") for index in range(60)]
    assert {one.software for one in unseen} == set(drawing.SOFTWARES["unseen"])
    assert {one.kernel for one in unseen} == set(drawing.KERNELS["unseen"])
    assert {one.noise_level for one in unseen} == set(drawing.NOISE["unseen"])
    for field in ("software", "kernel", "noise_level"):
        assert {getattr(one, field) for one in studies}.isdisjoint(getattr(one, field) for one in unseen)
    fixed = {(one.method, one.setting == "gcv") for one in studies}
    assert fixed.isdisjoint((one.method, one.setting == "gcv") for one in unseen)


def test_without_variety_the_maps_are_those_that_predict_series_makes(scan: CaseArrays) -> None:
    found = perfusion_maps(scan.ctp, scan.dt_s, spacing_mm=scan.spacing_mm)
    assert scan.truth["maps"] == "learned" and scan.truth["variety"] == {"mode": "none"}
    assert all(np.array_equal(scan.images[name], getattr(found, name)) for name in ("cbf", "cbv", "mtt", "tmax"))


def test_the_landmarks_of_a_nodding_head_lie_on_their_slices() -> None:
    grid = Grid((256, 256, 4), (0.9, 0.9, 8.0))
    pose = Pose(12.0, (3.0, -2.0), 4.0, 18.0, pitch_deg=9.0)
    pairs = landmark_pairs(pose, grid)
    heights = pairs.mean(1)[:, 2]
    assert np.allclose(heights, np.round(heights), atol=1e-9) and set(np.round(heights)) == {0, 1, 2, 3}


def test_no_such_variety_is_refused_and_so_is_one_of_mri(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-PHAN-09: the variety is not known(?s:.*)'wild'(?s:.*)none, real, unseen"):
        make_case(1, seed=0, variety="wild")
    with pytest.raises(IslesError, match=r"E-PHAN-09(?s:.*)kind siss"):
        make_dataset(tmp_path / "new", cases=1, seed=0, kind="siss", variety="real")
    assert not list(tmp_path.iterdir())


DRAWS = (
    # a cut head with NaN around the brain and an old padding of the CT; no lesion; whole numbers and a craniectomy
    {"map_padding": float("nan"), "ct_padding": -3024.0, "cut_mm": (12.0, 0.0, 0.0, 15.0), "whole_numbers": False},
    {
        "whole_numbers": False,
        "map_padding": -1024.0,
        "lesion": False,
        "deficit": 0.2,
        "haemorrhage": False,
        "method": "ssvd",
        "setting": 0.15,
    },
    {"whole_numbers": True, "map_padding": -1.0, "craniectomy": 1.0, "haemorrhage": True, "kernel": "soft"},
)


@pytest.fixture(scope="module")
def set_of_odd_ones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects of two slices that have, among them, everything a reader could stumble over."""
    from dataclasses import replace

    drawn, order = draw_variety, {}

    def odd(index: int, *, seed: int, mode: str) -> Variety:
        return replace(drawn(index, seed=seed, mode=mode), **DRAWS[order.setdefault(index, len(order))])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monai_isles.phantom.ct.subject.draw_variety", odd)
        patch.setattr("monai_isles.phantom.ct.subject.SECOND_SLAB", {})
        return make_dataset(
            tmp_path_factory.mktemp("odd") / "data", cases=3, seed=21, series=False, max_slices=2, variety="real"
        )


def _truths(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "truth").glob("case_*.json"))}


def _image(folder: Path, case: str, key: str) -> nibabel.Nifti1Image:
    (path,) = (folder / "TRAINING" / case).glob(f"*.O.{key}.*/*.nii")
    return nibabel.load(path)


def test_the_truth_tells_the_mode_and_the_draws_of_each_case(set_of_odd_ones: Path) -> None:
    for truth in _truths(set_of_odd_ones).values():
        told = truth["variety"]
        assert told["mode"] == "real" and truth["maps"] == told["method"]
        assert set(told) == set(Variety.__dataclass_fields__)
    assert "variety real" in (set_of_odd_ones / "SIMULATED.txt").read_text()


def test_files_hold_what_was_drawn(set_of_odd_ones: Path) -> None:
    truths = _truths(set_of_odd_ones)
    seen = Counter()
    for case, truth in truths.items():
        told = truth["variety"]
        label, cbf, ct = (np.asanyarray(_image(set_of_odd_ones, case, key).dataobj) for key in ("OT", "CT_CBF", "CT"))
        voxel_ml = np.prod(truth["spacing_mm"]) / 1000
        assert truth["lesion_ml"] == pytest.approx(label.sum() * voxel_ml)
        if not told["lesion"]:
            seen["healthy"] += 1
            assert truth["lesion_ml"] == truth["core_ml"] == truth["penumbra_ml"] == 0 and truth["side"] == "none"
        else:
            assert truth["lesion_ml"] >= 0.4
        if told["whole_numbers"]:
            seen["whole"] += 1
            assert cbf.dtype == np.int16 and cbf[0, 0, 0] == -1
        if told["map_padding"] == "nan":
            seen["nan"] += 1
            assert np.isnan(cbf[0, 0, 0]) and ct[0, 0, 0] in (-3024, -1024)
        if any(told["cut_mm"]):
            seen["cut"] += 1
            assert ct.shape[1] < matrix_of(truth["spacing_mm"][0])
            assert (ct[0] > -300).any() or (ct[-1] > -300).any()  # the edge runs through the head
    assert set(seen) == {"healthy", "whole", "nan", "cut"}


def test_a_cut_image_says_where_in_the_scanner_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    drawn = draw_variety
    scans = []
    for cut in ((0.0, 0.0, 0.0, 0.0), (15.0, 0.0, 9.0, 0.0)):
        monkeypatch.setattr(
            "monai_isles.phantom.ct.subject.draw_variety",
            lambda index, *, seed, mode, cut=cut: replace(drawn(index, seed=seed, mode=mode), cut_mm=cut),
        )
        scans.append(make_case(1, seed=21, max_slices=2, variety="real"))
    whole, part = scans
    lost = [a - b for a, b in zip(whole.label.shape[:2], part.label.shape[:2], strict=True)]
    assert min(lost) > 0 and np.array_equal(part.images["ct"], whole.images["ct"][lost[0] :, lost[1] :])
    assert part.centre_mm == pytest.approx([n * whole.spacing_mm[0] / 2 for n in lost])
    moved = np.array(whole.truth["landmarks_vox"]) - np.array(part.truth["landmarks_vox"])
    assert np.allclose(moved, [*lost, 0])


def test_every_case_passes_the_check_and_is_predicted(
    set_of_odd_ones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(set_of_odd_ones)]) == 0, capsys.readouterr().out
    words = ["predict", str(set_of_odd_ones), "--bundle", "threshold", "--no-report", "--out", str(tmp_path / "out")]
    assert main(words) == 0, capsys.readouterr().err
    assert len(list((tmp_path / "out").rglob("lesion.nii.gz"))) == 3


def test_the_same_seed_gives_the_same_bytes_and_the_config_can_ask_for_variety(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ISLES2018_DIR", raising=False)
    first = dataset_or_phantom(None, folder=str(tmp_path / "a"), cases=1, seed=8, max_slices=2, variety="real")
    words = ["phantom", "--out", str(tmp_path / "b"), "--cases", "1", "--seed", "8", "--no-series", "--max-slices", "2"]
    assert main([*words, "--variety", "real"]) == 0
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert len(files) == 10 and all((first / p).read_bytes() == (tmp_path / "b" / p).read_bytes() for p in files)
    with (first / "subjects.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["case_1"]
