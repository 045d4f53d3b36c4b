"""A folder with one bad case of every kind: ``check`` foretells what every verb leaves out, and all others are done."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose

from monai_isles.cli.main import main
from monai_isles.data import load_entries, make_datalist
from monai_isles.io import LoadVerifiedd, publish_json
from monai_isles.sampling import CachedCases
from monai_isles.transforms import SameGridd

KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")
ROOT = Path(__file__).parents[2]
BUNDLE = str(ROOT / "bundles/threshold")


def rewritten(path: Path, change: Callable[[np.ndarray], np.ndarray], *, shift_mm: float = 0.0) -> None:
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[0, 3] += shift_mm
    made = nibabel.Nifti1Image(change(np.array(image.get_fdata(dtype=np.float32))), affine)
    made.set_sform(affine, 1)
    made.set_qform(affine, 1)
    nibabel.save(made, path)


def torn(values: np.ndarray) -> np.ndarray:
    """No number in the middle of the head."""
    values[tuple(n // 2 for n in values.shape)] = np.nan
    return values


def dimension(path: Path, count: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[42:44] = np.int16(count).tobytes()
    path.write_bytes(raw)


def no_place(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[280:284] = raw[296:300] = np.float32(np.nan).tobytes()
    raw[252:254] = np.int16(0).tobytes()
    path.write_bytes(raw)


# what is done to which image of a case
OF_THE_IMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "absent": ("cbf", Path.unlink),
    "twice": ("tmax", lambda path: shutil.copy(path, path.with_name(path.name.replace("Tmax.", "Tmax.9")))),
    "cut": ("mtt", lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])),
    "empty file": ("ct", lambda path: path.write_bytes(b"")),
    "no number in tissue": ("ct", lambda path: rewritten(path, torn)),
    "elsewhere": ("cbv", lambda path: rewritten(path, lambda values: values, shift_mm=5.0)),
    "milliseconds": ("tmax", lambda path: rewritten(path, lambda values: 1000 * values)),
    "a window of grey": ("ct", lambda path: rewritten(path, lambda values: np.clip(values / 80, 0, 1))),
    "nothing measured": ("cbf", lambda path: rewritten(path, lambda values: 0 * values)),
    "complex": ("cbv", lambda path: rewritten(path, lambda values: values.astype(np.complex64))),
    "negative": ("mtt", lambda path: rewritten(path, lambda values: -values)),
    "a size below zero": ("tmax", lambda path: dimension(path, -4)),
    "in time": ("cbf", lambda path: rewritten(path, lambda values: np.stack([values] * 3, -1))),
    "no place": ("mtt", no_place),
    "gzip by another name": ("cbv", lambda path: path.write_bytes(gzip.compress(path.read_bytes()))),
    "text": ("ct", lambda path: path.write_text("see the other disk\n")),
}
OF_THE_MASK: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no mask of two values": ("label", lambda path: rewritten(path, lambda values: values / 2)),
    "cut mask": ("label", lambda path: path.write_bytes(path.read_bytes()[:-99])),
    "mask elsewhere": ("label", lambda path: rewritten(path, lambda values: values, shift_mm=9.0)),
}
WORDS = {"ct": "CT", "cbf": "CT_CBF", "cbv": "CT_CBV", "mtt": "CT_MTT", "tmax": "CT_Tmax", "label": "OT"}


@pytest.fixture(scope="module")
def folder(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sound cases and one of each bad kind, named after it."""
    root, made = tmp_path_factory.mktemp("bad"), phantom_folder
    for number, (name, (key, spoil)) in enumerate({**OF_THE_IMAGES, **OF_THE_MASK}.items(), start=3):
        case = shutil.copytree(made / "TRAINING/case_1", root / f"data/TRAINING/case_{number}")
        spoil(next(case.glob(f"*.{WORDS[key]}.*/*.nii")))
        (case / "kind.txt").write_text(name)
    for sound in (1, 2):
        shutil.copytree(made / "TRAINING/case_1", root / f"data/TRAINING/case_{sound}")
    rows = "".join(f"case_{number},{number}\n" for number in range(1, number + 1))
    (root / "data/subjects.csv").write_text(f"case,subject\n{rows}")
    return root / "data"


def kinds(folder: Path, cases: list[str]) -> set[str]:
    return {(folder / "TRAINING" / case.split()[-1] / "kind.txt").read_text() for case in cases}


@pytest.fixture(scope="module")
def foretold(folder: Path) -> dict[str, set[str]]:
    with pytest.MonkeyPatch.context() as patch:
        shown: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: shown.append(" ".join(map(str, words))))
        assert main(["check", str(folder), "--json"]) == 3
    said = json.loads(shown[-1])["left_out"]
    return {verbs.split()[0]: kinds(folder, cases) for verbs, cases in said.items()}


def test_check_names_every_bad_case_and_whom_it_concerns(foretold: dict[str, set[str]]) -> None:
    assert foretold == {"predict": set(OF_THE_IMAGES), "prepare,": {*OF_THE_IMAGES, *OF_THE_MASK}}


def test_predict_leaves_out_what_check_said_and_does_the_rest(
    folder: Path, foretold: dict[str, set[str]], tmp_path: Path
) -> None:
    assert main(["predict", str(folder), "--bundle", BUNDLE, "--out", str(tmp_path / "p"), "--no-report"]) == 3
    cases = json.loads((tmp_path / "p/run.json").read_text())["cases"]
    failed = [name for name, one in cases.items() if one["outcome"] == "failed"]
    assert kinds(folder, failed) == foretold["predict"] and len(cases) == 2 + len({**OF_THE_IMAGES, **OF_THE_MASK})
    words = ["evaluate", "--pred", str(tmp_path / "p"), "--ref", str(folder), "--out", str(tmp_path / "e")]
    assert main([*words, "--allow-missing"]) == 3
    left = json.loads((tmp_path / "e/summary.json").read_text())["left_out"]
    assert kinds(folder, list(left)) == {*OF_THE_MASK}
    scored = (tmp_path / "e/per_case.csv").read_text()
    assert all(f"case_{number}," in scored for number in (1, 2))


def test_a_training_leaves_out_what_check_said(
    folder: Path, foretold: dict[str, set[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = make_datalist(folder, folds=2, strict=False)
    publish_json(tmp_path / "list.json", listed)
    entries = load_entries(tmp_path / "list.json", folder, keys=KEYS, need_label=True, strict=False)
    every = [*KEYS, "label"]
    kept = CachedCases(entries, Compose([LoadVerifiedd(keys=every), SameGridd(keys=every)]))
    assert sorted(case["case"] for case in kept.data) == ["case_1", "case_2"]
    left = [one["case"] for one in listed["left_out"]] + [one.case for one in kept.left_out]
    assert kinds(folder, left) == foretold["prepare,"] and len(left) == len(set(left))
    assert all(f"left out: {one.case}" in caplog.text for one in kept.left_out)


def test_prepare_leaves_out_what_check_said(
    folder: Path, foretold: dict[str, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [
        "prepare",
        str(folder),
        "--bundle",
        str(ROOT / "bundles/clerigues"),
        "--cache",
        str(tmp_path / "cache"),
        "--json",
    ]
    assert main(words) == 3
    cases = json.loads(capsys.readouterr().out)["cases"]
    failed = [name for name, one in cases.items() if one["outcome"] == "failed"]
    assert kinds(folder, failed) == foretold["prepare,"]


def test_names_that_are_one_in_bids_are_refused_before_any_work(phantom_folder: Path, tmp_path: Path, capsys) -> None:
    content = make_datalist(phantom_folder)
    first, second = content["training"][:2]
    content["training"] = [first | {"case": "p_1"}, second | {"case": "p1"}]
    publish_json(tmp_path / "list.json", content)
    words = ["predict", str(phantom_folder), "--data-list", str(tmp_path / "list.json"), "--bundle", BUNDLE]
    assert main([*words, "--out", str(tmp_path / "out"), "--bids"]) == 4
    assert "E-LIST-20" in capsys.readouterr().err and not (tmp_path / "out").exists()
