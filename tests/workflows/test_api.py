"""From Python: the same masks and numbers as the commands, from paths and from images in memory."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

import monai_isles
from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.workflows.api import Aside, Segmentation, _nifti

KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")


@pytest.fixture(scope="module")
def images(phantom_folder: Path) -> dict[str, nibabel.Nifti1Image]:
    names = {key: "CT" if key == "ct" else f"CT_{'Tmax' if key == 'tmax' else key.upper()}" for key in KEYS}
    case = phantom_folder / "TRAINING/case_1"
    return {key: nibabel.load(next(case.glob(f"*.{name}.*/*.nii"))) for key, name in names.items()}


def test_segment_gives_what_predict_writes(phantom_folder: Path, tmp_path: Path) -> None:
    case, out = phantom_folder / "TRAINING/case_1", tmp_path / "out"
    words = ["predict", str(case), "--bundle", "clerigues", "--out", str(out), "--step", "32", "--mc-passes", "1"]
    assert main([*words, "--no-report"]) == 0
    found = monai_isles.segment(case, step=32, mc_passes=1)
    wanted = nibabel.load(out / "case_1/probability.nii.gz")
    np.testing.assert_array_equal(found.array("probability"), wanted.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(found.affine, wanted.affine)
    assert found.lesion_ml == json.loads((out / "case_1/result.json").read_text())["lesion_ml"]
    voxel_ml = np.prod(wanted.header.get_zooms()) / 1000
    assert found.lesion_ml == pytest.approx(found.array("lesion").sum() * voxel_ml, abs=1e-3)
    saved = found.save(tmp_path / "saved")
    assert sorted(p.name for p in saved.iterdir()) == [
        "lesion.nii.gz", "probability.nii.gz", "result.json", "uncertainty.nii.gz",
    ]  # fmt: skip
    assert (saved / "lesion.nii.gz").read_bytes() == (out / "case_1/lesion.nii.gz").read_bytes()


def test_what_a_transform_refuses_is_the_refusal_of_the_command(images: dict[str, nibabel.Nifti1Image]) -> None:
    """A case of which one map is missing: fusion refuses it while it prepares, within MONAI's own RuntimeError."""
    with pytest.raises(IslesError, match=r"E-\w+-\d+(?s:.*)tmax"):
        monai_isles.segment({key: image for key, image in images.items() if key != "tmax"}, "fusion")


@pytest.mark.parametrize(("setting", "value", "said"), [
    ("threshold", 1.5, "1.5"), ("threshold", "0.5", "Binarised"), ("device", "gpu", "'gpu'"),
])  # fmt: skip
def test_a_setting_that_is_refused_is_the_refusal_of_the_command(
    phantom_folder: Path, setting: str, value: object, said: str
) -> None:
    with pytest.raises(IslesError, match=rf"E-\w+-\d+(?s:.*){said}"):
        monai_isles.segment(phantom_folder / "TRAINING/case_1", "threshold", **{setting: value})


@pytest.mark.parametrize("kind", ["nibabel", "array", "metatensor", "gradients", "lps"])
def test_images_in_memory_give_the_rule_of_those_on_disk(
    kind: str, phantom_folder: Path, images: dict[str, nibabel.Nifti1Image]
) -> None:
    made = {
        "nibabel": lambda image: image,
        "array": lambda image: (image.get_fdata(), image.affine),
        "metatensor": lambda image: MetaTensor(torch.from_numpy(image.get_fdata())[None], affine=image.affine),
        "gradients": lambda image: (torch.from_numpy(image.get_fdata()).requires_grad_(), image.affine),
        "lps": lambda image: MetaTensor(
            torch.from_numpy(image.get_fdata())[None], np.diag([-1, -1, 1, 1]) @ image.affine, {"space": "LPS"}
        ),
    }[kind]
    wanted = monai_isles.segment(phantom_folder / "TRAINING/case_1", "threshold")
    found = monai_isles.segment({key: made(image) for key, image in images.items()}, "threshold")
    np.testing.assert_array_equal(found.array("lesion"), wanted.array("lesion"))
    assert found.lesion_ml == wanted.lesion_ml > 0
    np.testing.assert_allclose(found.affine, images["ct"].affine, atol=1e-4)
    image = found.image("lesion")
    del found  # and with it the folder of its files
    np.testing.assert_array_equal(image.get_fdata(), wanted.array("lesion"))


def test_a_given_image_that_the_bundle_does_not_read_serves_the_rules(images: dict[str, nibabel.Nifti1Image]) -> None:
    bundle = monai_isles.load_bundle("threshold", overlays=("without_ct.json",))
    maps = {key: image for key, image in images.items() if key != "ct"}
    sides = [monai_isles.segment(given, bundle).record["perfusion"]["midline"] for given in (images, maps)]
    assert sides == ["mirror", "centroid"]


PLAIN = np.zeros((4, 4, 2))


def test_a_result_goes_to_another_process_with_its_files(images: dict[str, nibabel.Nifti1Image]) -> None:
    result = monai_isles.segment(images, "threshold")
    wanted, sent = result.array("lesion"), pickle.dumps(result)
    folder = result.folder
    del result
    gc.collect()
    received = pickle.loads(sent)
    assert not folder.exists() and received.lesion_ml > 1 and type(received).__name__ == "Segmentation"
    np.testing.assert_array_equal(received.array("lesion"), wanted)


def test_a_fork_that_drops_a_result_does_not_delete_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Aside(), Aside()
    folders = here.path, there.path
    del here
    monkeypatch.setattr("os.getpid", lambda: 1)
    del there
    gc.collect()
    assert [folder.is_dir() for folder in folders] == [False, True]
    folders[1].rmdir()


def test_torch_with_doubles_as_default_changes_nothing(images: dict[str, nibabel.Nifti1Image]) -> None:
    wanted = monai_isles.segment(images, "unet").array("probability")
    torch.set_default_dtype(torch.float64)
    try:
        found = monai_isles.segment(images, "unet").array("probability")
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("image", "said"), [
    (PLAIN, "ndarray: too many values"),
    (torch.zeros(4, 4, 2), "Tensor: .*affine"),
    (object(), "object: cannot unpack"),
    ((PLAIN, np.eye(3)), "tuple: Affine should be shape 4,4"),
    ((PLAIN.astype(object), np.eye(4)), "tuple: .*object.* not supported"),  # else 0.7 would be read as 0
])  # fmt: skip
def test_an_image_in_memory_of_another_kind_is_told_what_to_give(image: object, said: str) -> None:
    with pytest.raises(IslesError, match=rf"E-USE-83.*\n  where image in memory: case\n  found {said}"):
        monai_isles.evaluate((PLAIN, np.eye(4)), image)


def test_an_array_in_the_axis_order_of_simpleitk_is_refused_where_its_size_shows_it() -> None:
    affine = np.diag([0.9, 0.9, 5.0, 1.0])
    for swapped in ((24, 256, 256), (40, 24, 256, 256)):  # (D, H, W), and a series (T, D, H, W)
        with pytest.raises(ValueError, match=r"spans 1280 mm, in reverse 230 mm: transpose"):
            _nifti((np.ones(swapped, np.uint8), affine))
    with pytest.raises(IslesError, match=r"E-USE-83(?s:.*)shape \(24, 256, 256\)"):
        monai_isles.evaluate((np.ones((24, 256, 256)), affine), (np.ones((256, 256, 24)), affine))
    for right, grid in (((256, 256, 24), affine), ((6, 6, 400), np.eye(4) * 2)):  # 800 mm in either order
        assert _nifti((np.ones(right, np.uint8), grid)).shape == right


def test_numbers_of_numpy_one_path_of_weights_and_a_device_of_torch_are_settings(
    images: dict[str, nibabel.Nifti1Image],
) -> None:
    weights = monai_isles.load_bundle("clerigues").weights
    found = monai_isles.segment(
        images, weights=weights, step=np.int64(64), mc_passes=np.int64(1), threshold=np.float32(0.5),
        min_size_vox=np.int64(3), device=torch.device("cpu"),
    )  # fmt: skip
    assert found.record["threshold"] == 0.5 and found.record["min_size_vox"] == 3
    assert list(found.record["weights_sha256"]) == [monai_isles.load_bundle("clerigues").weights_sha256]


def test_a_missing_image_and_a_folder_of_cases_are_refused(
    phantom_folder: Path, images: dict[str, nibabel.Nifti1Image]
) -> None:
    with pytest.raises(IslesError, match=r"E-USE-80: one case.*\n.*\n.*no mtt; no tmax\n"):
        monai_isles.segment({key: images[key] for key in ("ct", "cbf", "cbv")}, "threshold")
    with pytest.raises(IslesError, match=r"E-USE-80: one case.*\n.*\n.*found no tmax\n"):
        monai_isles.segment({**images, "tmax": None}, "threshold")
    with pytest.raises(IslesError, match="E-FILE-01(?s:.*)tmax: nowhere.nii\n"):
        monai_isles.segment({**images, "tmax": "nowhere.nii"}, "threshold")
    with pytest.raises(IslesError, match=r"E-USE-80: one case.*\n.*\n.*found tmaxx, which is no modality\n"):
        monai_isles.segment({**images, "tmaxx": images["tmax"]}, "threshold")
    with pytest.raises(IslesError, match=r"E-USE-80: one case.*\n.*\n.*found a list\n"):
        monai_isles.segment([phantom_folder], "threshold")
    with pytest.raises(IslesError, match=r"E-USE-80.*\n.*\n.*3 cases"):
        monai_isles.segment(phantom_folder, "threshold")


def test_measure_perfusion_takes_a_file_an_array_and_a_metatensor(scan: CaseArrays, tmp_path: Path) -> None:
    x, y, z = scan.spacing_mm
    values, affine = np.moveaxis(scan.ctp[:, ::4, ::4], 0, -1).astype(np.float32), np.diag([4 * x, 4 * y, z, 1.0])
    series = nibabel.Nifti1Image(values, affine)
    series.header.set_xyzt_units("mm", "sec")
    series.header["pixdim"][4] = scan.dt_s
    nibabel.save(series, tmp_path / "ctp.nii.gz")
    assert main(["perfusion", str(tmp_path / "ctp.nii.gz"), "--out", str(tmp_path / "out"), "--no-motion"]) == 0
    wanted = nibabel.load(tmp_path / "out/tmax.nii.gz").get_fdata(dtype=np.float32)
    file = monai_isles.measure_perfusion(tmp_path / "ctp.nii.gz", motion=False)
    array = monai_isles.measure_perfusion((values, affine), dt_s=np.float32(scan.dt_s), motion=False)
    tensor = MetaTensor(torch.from_numpy(values)[None], affine=affine)
    for found in (file, array, monai_isles.measure_perfusion(tensor, dt_s=scan.dt_s, motion=False)):
        np.testing.assert_array_equal(found.array("tmax"), wanted)
        assert found.record["dt_s"] == pytest.approx(scan.dt_s) and found.record["medians"]["tmax"] >= 0
    assert (array.save(tmp_path / "saved") / "perfusion.json").is_file()
    given = monai_isles.measure_perfusion(tensor, dt_s=np.arange(len(scan.ctp)) * scan.dt_s, motion=False)
    assert given.record["times_from"] == "given (--times)" and given.record["dt_s"] == pytest.approx(scan.dt_s)


def test_voxels_of_the_artery_count_in_ras_whatever_the_order_of_the_file(scan: CaseArrays) -> None:
    values, affine = np.moveaxis(scan.ctp, 0, -1), np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*scan.spacing_mm, 1.0])
    found = monai_isles.measure_perfusion((values, affine), dt_s=scan.dt_s, motion=False)
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, affine)).get_fdata()
    artery = turned[tuple(np.transpose(found.record["aif_vox"]))]
    rise = (artery - artery[:, :3].mean(1, keepdims=True)).max(1)
    assert rise.min() > 0.5 * max(found.record["aif_hu"]) / found.record["aif_scale"]


def test_a_series_in_memory_without_a_time_is_not_taken_for_one_of_a_frame_a_second(scan: CaseArrays) -> None:
    x, y, z = scan.spacing_mm
    values, affine = np.moveaxis(scan.ctp[:, ::4, ::4], 0, -1), np.diag([4 * x, 4 * y, z, 1.0])
    with pytest.raises(IslesError, match=r"E-TIME-01(?s:.*)without a unit of time(?s:.*)in Python as dt_s"):
        monai_isles.measure_perfusion((values, affine))
    with pytest.raises(IslesError, match="E-TIME-01"):
        monai_isles.segment({"ctp": (values, affine)}, "fusion")
    with pytest.raises(IslesError, match=r"E-USE-31(?s:.*)-1 mm"):
        monai_isles.measure_perfusion((values, affine), dt_s=1.0, smoothing_mm=-1)


def test_evaluate_scores_two_masks_and_two_folders(tmp_path: Path) -> None:
    ref, pred = np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20, 4), np.uint8)
    ref[5:9, 5:9, 1:3] = 1  # 32 voxels
    pred[5:9, 5:9, 1:2] = 1  # 16 of them: Dice 2 * 16 / 48
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    summary = monai_isles.evaluate((pred > 0, affine), nibabel.Nifti1Image(ref, affine), out=tmp_path / "scores")
    tensor = MetaTensor(torch.from_numpy(ref)[None], affine=affine)
    for found in (summary, monai_isles.evaluate((pred, affine), tensor)):
        (method,) = found["methods"].values()
        assert method["metrics"]["dsc"]["mean"] == pytest.approx(2 / 3)
    assert (tmp_path / "scores/per_case.csv").is_file()
    for name, mask in (("pred", pred), ("ref", ref)):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / name / "case_1.nii.gz")
    (method,) = monai_isles.evaluate(tmp_path / "pred", tmp_path / "ref")["methods"].values()
    assert method["metrics"]["dsc"]["mean"] == pytest.approx(2 / 3)


def test_the_references_of_a_list_may_be_a_url(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-71(?s:.*)memory://study"):
        monai_isles.evaluate(tmp_path, "memory://study")


def test_a_saved_result_holds_no_map_of_the_result_it_replaces(tmp_path: Path) -> None:
    for name in ("uncertainty", "entropy"):
        aside = Aside()
        (aside.path / f"{name}.nii.gz").write_text(name)
        (aside.path / "result.json").write_text(json.dumps({"map": name}))
        Segmentation({}, aside.path, aside).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entropy.nii.gz", "result.json"]


@pytest.mark.parametrize(("name", "keep", "code"), [
    ("mask.nii.gz", 40, "E-FILE-05"), ("mask.nii.gz", -6, "E-FILE-05"), ("mask.nrrd", None, "E-FILE-03"),
    ("mask.nii", None, "E-FILE-04"),
])  # fmt: skip
def test_a_mask_file_that_cannot_be_read_is_named_in_four_lines(
    tmp_path: Path, name: str, keep: int | None, code: str
) -> None:
    whole, bad = tmp_path / "whole.nii.gz", tmp_path / name
    nibabel.save(nibabel.Nifti1Image(np.eye(16, dtype=np.uint8)[..., None].repeat(9, -1), np.eye(4)), whole)
    bad.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(IslesError, match=rf"{code}(?s:.*)where {bad}\n"):
        monai_isles.evaluate(bad, whole)
    assert monai_isles.evaluate(whole, whole)["methods"]["network"]["metrics"]["dsc"]["mean"] == 1


def test_a_bundle_is_loaded_by_name_and_an_unknown_one_refused() -> None:
    assert monai_isles.load_bundle("wang").config("inference")["modalities"][0] == "cbf"
    with pytest.raises(IslesError, match="E-INF-10"):
        monai_isles.load_bundle("nobody")


def test_the_names_are_there_before_anything_heavy_is_loaded() -> None:
    script = (
        "import sys, monai_isles; print(sorted(set(dir(monai_isles)) & {'segment', 'measure_perfusion', 'evaluate', "
        "'load_bundle'}), sorted({'torch', 'monai', 'numpy', 'nibabel'} & set(sys.modules)))\n"
        "print(len(monai_isles.list_bundles()) > 5, sorted({'torch', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, listed = done.stdout.splitlines()
    assert first == "['evaluate', 'load_bundle', 'measure_perfusion', 'segment'] []" and listed == "True []"


def test_an_exported_zip_gives_the_result_of_its_bundle(phantom_folder: Path, tmp_path: Path) -> None:
    from monai_isles.export.bundle import export_bundle

    archive = export_bundle("threshold", tmp_path / "out", graphs=False).archive
    case = phantom_folder / "TRAINING/case_1"
    found, wanted = (monai_isles.segment(case, one) for one in (archive, "threshold"))
    np.testing.assert_array_equal(found.array("lesion"), wanted.array("lesion"))
    assert found.lesion_ml == wanted.lesion_ml > 0
