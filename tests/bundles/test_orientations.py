"""Every bundle gives one answer for a head, however it is stored: 48 orientations, oblique slabs, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import apply_orientation, inv_ornt_aff

from monai_isles.bundle.bundle import Bundle, known_bundles
from monai_isles.inference import Predictor, load_predictor
from monai_isles.io.weights import publish_state
from monai_isles.phantom.ct.scan import CaseArrays
from tests.fixtures.shared import make_mri_case

BUNDLES = Path(__file__).parents[2] / "bundles"
ORIENTATIONS = [
    list(zip(order, signs, strict=True)) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
SMALLER: dict[str, dict[str, object]] = {
    "clerigues": {"step": [64, 64], "mc_passes": 1, "min_size_vox": 1},
    "abulnaga": {"base_channels": 2},
    "wang": {"base_channels": 2},
    "clerigues_mri": {"base_channels": 2, "step": [24, 24, 16], "cover": "centre", "min_size_vox": 1},
    "fusion": {"widths": [4, 4, 8], "features": 2},
    "threshold": {"min_cluster_ml": 0.0, "core_rcbf": 0.9},
}
SETTINGS = {name: SMALLER.get(name, {}) for name in known_bundles()}


@dataclass(frozen=True)
class Head:
    """One scan in RAS+: arrays (H, W, D), the series (H, W, D, T), and its spacing in mm."""

    images: Mapping[str, np.ndarray]
    spacing_mm: tuple[float, ...]


@pytest.fixture(scope="module")
def heads(scan: CaseArrays) -> dict[str, Head]:
    images = {key: array[::4, ::4].astype(np.float32) for key, array in scan.images.items() if key != "dwi"}
    images["ctp"] = np.moveaxis(scan.ctp[:, ::4, ::4], 0, -1)
    mri = make_mri_case(1, kind="siss", seed=5, spacing_mm=6.0)
    ct = Head(images, (scan.spacing_mm[0] * 4, scan.spacing_mm[1] * 4, scan.spacing_mm[2]))
    return {"ct": ct, "mri": Head(mri.images, tuple(mri.spacing_mm))}


def tilted(spacing_mm: tuple[float, ...], *degrees: float) -> np.ndarray:
    """Return an affine of voxels along x, y, z that were turned about x and about z."""
    (a, b), (c, d) = ((np.cos(t), np.sin(t)) for t in np.radians(degrees or (0.0, 0.0)))
    turn = np.array([[1, 0, 0], [0, a, -b], [0, b, a]]) @ np.array([[c, -d, 0], [d, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing_mm
    affine[:3, 3] = [-80.5, -77.25, 31.0]
    return affine


def stored(
    head: Head, keys: list[str], folder: Path, affine: np.ndarray, turn: list[tuple[int, int]]
) -> dict[str, str]:
    """Write the images of a head with their axes in another order and direction; return the entry."""
    folder.mkdir()
    entry = {"case": folder.name}
    for key in keys:
        array = head.images[key]
        image = nibabel.Nifti1Image(
            np.ascontiguousarray(apply_orientation(array, turn)), affine @ inv_ornt_aff(turn, array.shape[:3])
        )
        image.set_sform(image.affine, 1)
        image.set_qform(image.affine, 1)
        image.header.set_xyzt_units("mm", "sec")
        if array.ndim == 4:
            image.header["pixdim"][4] = 1.0
        nibabel.save(image, folder / f"{key}.nii")
        entry[key] = str(folder / f"{key}.nii")
    return entry


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where heads that were registered once are kept."""
    return tmp_path_factory.mktemp("registered")


@pytest.fixture(params=sorted(SETTINGS))
def predictor(request: pytest.FixtureRequest, tmp_path: Path, registered: Path) -> Predictor:
    """One bundle with a small network as it is born."""
    name = request.param
    parser = Bundle(BUNDLES / name).config("inference")
    parser.update(
        {"bundle_root": str(BUNDLES / name), "output_dir": str(tmp_path), "dataset_dir": None, **SETTINGS[name]}
    )
    torch.manual_seed(0)
    state = parser.get_parsed_content("network_def").state_dict()
    weights = []
    if state:
        weights = [tmp_path / "model.pt"]
        publish_state(weights[0], state)
    changes = SETTINGS[name] | {"dataset_dir": str(registered)}
    return load_predictor(BUNDLES / name, tmp_path / "out", weights=weights, device="cpu", changes=changes)


def head_of(predictor: Predictor, heads: dict[str, Head]) -> Head:
    return heads["mri" if "flair" in predictor.modalities else "ct"]


def require_one_answer(predictor: Predictor, heads: dict[str, Head], tmp_path: Path, orientations: list) -> None:
    head, keys, answer = head_of(predictor, heads), list(predictor.modalities), None
    affine = tilted(head.spacing_mm)
    for number, turn in enumerate(orientations):
        entry = stored(head, keys, tmp_path / f"case_{number}", affine, turn)
        prepared = predictor.prepare(entry)
        maps = predictor.finish(entry, prepared, predictor.run_networks(prepared))
        if answer is None:
            answer = prepared["image"].clone(), {key: maps[key].clone() for key in ("probability", "lesion")}
            assert 0 < float(answer[1]["probability"].max()) <= 1
        assert torch.equal(prepared["image"], answer[0]), turn
        require_same(maps, answer[1], tmp_path / "out" / entry["case"], entry[keys[0]], turn)


def test_orientations_give_one_answer_each_on_its_own_grid(
    predictor: Predictor, heads: dict[str, Head], tmp_path: Path
) -> None:
    """Six of the 48 hold every order of the axes, and six of the eight choices of directions."""
    require_one_answer(predictor, heads, tmp_path, ORIENTATIONS[::9])


@pytest.mark.long
def test_48_orientations_give_one_answer_on_48_grids(
    predictor: Predictor, heads: dict[str, Head], tmp_path: Path
) -> None:
    require_one_answer(predictor, heads, tmp_path, ORIENTATIONS)


def require_same(maps: Mapping, answer: Mapping, out: Path, source: str, turn: object) -> None:
    """Require that the maps are the answer in memory, and that the files hold it on the grid of the source."""
    grid = nibabel.load(source)
    for key, wanted in answer.items():
        assert torch.equal(maps[key], wanted), (key, turn)
        file = nibabel.load(out / f"{key}.nii.gz")
        assert file.shape == grid.shape[:3], turn
        np.testing.assert_allclose(file.affine, grid.affine, atol=1e-5)
        again = nibabel.as_closest_canonical(file).get_fdata()
        assert np.array_equal(again.astype(np.float32), wanted[0].numpy().astype(np.float32)), (key, turn)


@pytest.mark.parametrize(
    "degrees",
    [(-20.0, 15.0), *(pytest.param(one, marks=pytest.mark.long) for one in ((12.0, 0.0), (0.0, -7.0)))],
    ids=str,
)
def test_an_oblique_slab_is_answered_on_its_own_oblique_grid(
    predictor: Predictor, heads: dict[str, Head], tmp_path: Path, degrees: tuple[float, float]
) -> None:
    head, keys = head_of(predictor, heads), list(predictor.modalities)
    affine, answers = tilted(head.spacing_mm, *degrees), []
    for number, turn in enumerate((ORIENTATIONS[0], ORIENTATIONS[22])):
        entry = stored(head, keys, tmp_path / f"case_{number}", affine, turn)
        answers.append(predictor.predict(entry))
        one = {key: answers[0][key] for key in ("probability", "lesion")}
        require_same(answers[-1], one, tmp_path / "out" / entry["case"], entry[keys[0]], turn)


def test_a_grid_that_differs_by_rounding_passes_and_a_mirrored_one_never(
    predictor: Predictor, heads: dict[str, Head], tmp_path: Path
) -> None:
    from monai_isles.errors import IslesError

    head, keys = head_of(predictor, heads), list(predictor.modalities)
    affine = tilted(head.spacing_mm)
    entry = stored(head, keys, tmp_path / "near", affine, ORIENTATIONS[0])
    moved = affine.copy()
    moved[0, 3] += 1e-5
    entry[keys[1]] = stored(head, keys, tmp_path / "rounded", moved, ORIENTATIONS[0])[keys[1]]
    assert predictor.prepare(entry)["image"].shape
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    entry[keys[1]] = stored(head, keys, tmp_path / "mirror", mirror @ affine, ORIENTATIONS[0])[keys[1]]
    with pytest.raises((IslesError, RuntimeError)) as caught:
        predictor.prepare(entry)
    assert "E-GEOM-03" in f"{caught.value} {caught.value.__cause__}"
