"""One case at a time, with the images that a network made and masks of several labels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_isles.case import Case
from monai_isles.reports.gather import Source, find_sources, load_view, read_scores

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
TOOL = Path(__file__).resolve().parents[2] / "docs/make/case_figure.py"


def save(path: Path, array: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    return path


def test_a_pseudo_dwi_beside_the_lesion_comes_along_as_synthetic(folders: Callable[..., dict[str, Path]]) -> None:
    paths = folders()
    lesion = paths["pred"] / "case_1/lesion.nii.gz"
    made = nibabel.load(lesion)
    nibabel.save(
        nibabel.Nifti1Image(np.full(made.shape, 0.25, np.float32), made.affine), lesion.with_name("pseudo_dwi.nii.gz")
    )
    rows = read_scores(paths["scores"]).per_case["network"]
    first, second = (load_view(s, simulated=True) for s in find_sources(paths["pred"], paths["ref"], rows))
    assert set(first.synthetic) == {"pseudo_dwi"} and not second.synthetic
    assert np.unique(first.synthetic["pseudo_dwi"]) == pytest.approx([0.25])


@pytest.mark.parametrize(("values", "count"), [((1,), 6), ((2,), 3), ((1, 2), 9)], ids=["penumbra", "core", "area"])
def test_of_a_mask_with_several_labels_the_chosen_ones_are_the_truth(
    tmp_path: Path, values: tuple[int, ...], count: int
) -> None:
    labels = np.zeros((5, 5, 3), np.uint8)
    labels[0, :2], labels[1, 0] = 1, 2
    case = Case("case_1", "anna", label=save(tmp_path / "label.nii.gz", labels), label_values=values)
    assert load_view(Source(case, {"truth": case.label}), simulated=False).truth.sum() == count


def test_the_picture_of_a_case_is_written_and_an_unknown_case_refused(
    folders: Callable[..., dict[str, Path]], tmp_path: Path, capsys
) -> None:
    spec = importlib.util.spec_from_file_location("case_figure_tool", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    paths = folders()
    words = [f"--{name}={paths[name]}" for name in ("pred", "ref", "scores")]
    tool.main([*words, "--case=case_2", f"--out={tmp_path / 'one.png'}"])
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width == 1200  # CT, CBF, Tmax, probability, uncertainty, agreement: 200 each
    with pytest.raises(SystemExit):
        tool.main([*words, "--case=case_9", f"--out={tmp_path / 'none.png'}"])
    assert "case_9 is not among the scored cases" in capsys.readouterr().err and not (tmp_path / "none.png").exists()
