"""``tools/reproduce.py wang`` writes tables, tests and figures beside the published numbers."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.crossval.plan import PARTS, Plan
from monai_isles.data import make_datalist
from monai_isles.io import publish_json, read_image
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_text
from monai_isles.papers import by_split
from monai_isles.papers import study as papers_study
from monai_isles.transforms import perfusion_window

ROOT = Path(__file__).parents[2]
SHARE = {
    "table5_real_dwi": 1.0,
    "table4_wce_hgd": 0.5,
}  # of the lesion's columns that the row's maps hold; others a quarter
PSNR_DB = 20.0


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, phantom_folder: Path) -> list[Plan]:
    """Put parts of the lesion and the true DWI plus a tenth where training would stand."""
    plans: list[Plan] = []

    def cross_validate(plan: Plan, content: dict, out: Path) -> dict[str, object]:
        plans.append(plan)
        publish_json(out / "crossval.json", plan.record())
        publish_json(out / "data_list.json", content)
        publish_text(out / "fold_1/model.pt", out.name)
        digest = sha256_of(out / "fold_1/model.pt")
        tested = [entry for entry in content["training"] if entry["case"] in plan.cases[1]]
        for entry in tested:
            folder = out / "predictions" / entry["case"]
            folder.mkdir(parents=True, exist_ok=True)
            image = nibabel.load(phantom_folder / entry["label"])
            publish_json(folder / "result.json", {"weights_sha256": [digest]})
            found = np.asarray(image.dataobj) > 0
            columns = np.flatnonzero(found.any((1, 2)))
            found[columns[round(SHARE.get(out.name, 0.25) * len(columns)) :]] = False
            made = {"probability": 0.9 * found}
            if "dwi" in entry:
                made["pseudo_dwi"] = scaled(phantom_folder / entry["dwi"]) + 0.1
            for name, data in made.items():
                nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), image.affine), folder / f"{name}.nii.gz")
        cases = {entry["case"]: {"outcome": "ok"} for entry in tested}
        return {"folds": {fold: {"outcome": "ok"} for fold in plan.folds}, "cases": cases}

    monkeypatch.setattr(papers_study, "cross_validate", cross_validate)
    return plans


def scaled(path: Path) -> np.ndarray:
    true = np.asarray(nibabel.load(path).dataobj, np.float64)
    return np.clip((true - true.min()) / (np.percentile(true, 99) - true.min()), None, 1)


@pytest.fixture
def listed(phantom_folder: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that writes a list of three parts and gives the words that name it."""

    def words(**more: object) -> list[str]:
        content = make_datalist(phantom_folder, folds=2)
        for n, case in enumerate(content["training"]):
            case |= {"fold": n, "subject": f"subject_{n}"}
            case |= {"ctp": case["ct"]}
            if more.get("without_dwi"):
                del case["dwi"]
        content["folds"] = {"count": 3, "seed": 0, "balanced": ["cases"], "parts": PARTS}
        publish_json(tmp_path / "list.json", content)
        data = ["--data-list", str(tmp_path / "list.json"), "--dataset-dir", str(phantom_folder)]
        return [*data, "--bundle", str(ROOT / "bundles/wang"), "--out", str(tmp_path / "out"), "--overlay",
                "small.json"]  # fmt: skip

    return words


def reproduce(*words: str) -> int:
    return runpy.run_path(str(ROOT / "tools/reproduce.py"))["main"](["wang", *words])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_5_and_its_figures_stand_beside_the_published_ones(listed, trained, tmp_path: Path, capsys) -> None:
    assert reproduce("--table", "5", "--figure", "7", "10", *listed()) == 0, capsys.readouterr()
    assert [plan.overlays for plan in trained][:2] == [
        ("table5_cta", "small.json"),
        ("table5_fo", "small.json"),
    ]
    assert len(trained) == 8 and {(plan.stopping_fold(1), *plan.held_out_folds(1)) for plan in trained} == {(0, 1)}
    out, said = tmp_path / "out", capsys.readouterr().out
    ours = {line["row"]: line for line in table(out / "table5.csv") if line["kind"] == "ours"}
    assert 0 <= float(ours.pop("rCBF < 30 %, no network")["dsc_mean"]) < 1
    assert len(ours) == 8 and float(ours["real DWI"]["dsc_mean"]) == 1 and float(ours["real DWI"]["rve_mean"]) == 0
    assert 0.4 < float(ours["F_o"]["dsc_mean"]) < 0.9 and float(ours["F_o"]["ppv_mean"]) == 1
    printed = {line["row"]: line for line in table(out / "table5.csv") if line["kind"] == "published"}
    assert float(printed["real DWI"]["dsc_mean"]) == pytest.approx(0.7972)
    assert "test part of 1/1/1 scans" in said and "simulated data, not patients" in said
    assert str(tmp_path) not in (out / "table5.txt").read_text()
    tests = json.loads((out / "table5_tests.json").read_text())["tests"]
    pairs = {(test["row"], test["against"]) for test in tests}
    assert {row for row, other in pairs if other == "F_o"} == {row for row, _ in pairs} - {"F_o"}
    assert ("DWI^o,l", "DWI^o") in pairs and len(tests) == 4 * len(pairs) == 4 * 17
    assert not pairs & {(other, row) for row, other in pairs}  # no test is counted twice
    of_real = next(
        test for test in tests if (test["row"], test["against"], test["metric"]) == ("real DWI", "F_o", "dsc")
    )
    assert of_real["cases"]["mean"] == pytest.approx(1 - float(ours["F_o"]["dsc_mean"]))
    cases = table(out / "table5_cases.csv")
    assert [line["case"] for line in cases] == ["case_2"] * 8 and cases[0]["ssim"] == "" and cases[2]["ssim"] != ""
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("figure7.png", "figure10.png"))
    groups = {line["row"]: line["dsc_mean"] for line in table(out / "figure10.csv")}
    assert len([name for name in groups if name.startswith("F_o, ")]) == 3 and float(groups["<10 ml"]) == 0.595
    made = set(json.loads((out / "run.json").read_text())["rows"])
    assert made - {"table5_fo"} == {path.name for path in out.glob("table5_*/")} and (out / "table4_wce_hgd").is_dir()


def test_figures_6_8_and_9_set_the_rows_side_by_side(
    listed, trained, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple] = []
    grid = by_split.figures.contour_grid

    def watched(panels, colours, *, columns: int, note: str):
        drawn.append((panels, columns))
        return grid(panels, colours, columns=columns, note=note)

    monkeypatch.setattr(by_split.figures, "contour_grid", watched)
    rows = ["--rows", "wl2_h1", "L1", "UNet", "table3_slnet", "table5_fo", "dwi_olh"]
    assert reproduce("--figure", "6", "8", "9", *rows, *listed()) == 0, capsys.readouterr()
    out = tmp_path / "out"
    assert all((out / f"figure{n}.png").read_bytes().startswith(b"\x89PNG") for n in (6, 8, 9))
    (synthesis, columns), *others = drawn
    assert columns == 3 and [title.split(": Dice")[0] for title, *_ in synthesis] == [
        "case_2, true DWI", "L1", "w-L2 + l_h1", "lesion", "L1", "w-L2 + l_h1"
    ]  # fmt: skip
    assert [set(masks) for *_, masks in synthesis] == [set()] * 3 + [{"truth"}] + [{"truth", "segmentation"}] * 2
    pseudo = read_image(out / "table1_l1/predictions/case_2/pseudo_dwi.nii.gz").data
    assert any(np.allclose(synthesis[1][1], pseudo[..., k]) for k in range(pseudo.shape[2]))
    for (panels, columns), wanted in zip(others, (["UNet", "SLNet"], ["F_o", "DWI^o,l,h"]), strict=True):
        assert columns == 2 and [title.split(": Dice")[0] for title, *_ in panels] == wanted
        for title, image, masks in panels:
            truth, found = masks["truth"], masks["segmentation"]
            assert image.shape == truth.shape and not (found & ~truth).any() and 0 < found.sum() < truth.sum()
            assert 0 < float(title.split("Dice ")[1]) < 1


def test_figure_3_shows_the_stage_of_two_series_and_trains_nothing(
    trained, tmp_path: Path, capsys, series_folder: Path
) -> None:
    content = make_datalist(series_folder, folds=2)
    for n, case in enumerate(content["training"]):
        case |= {"fold": n, "subject": f"subject_{n}"}
    content["folds"] = {"count": 3, "seed": 0, "balanced": ["cases"], "parts": PARTS}
    publish_json(tmp_path / "list.json", content)
    words = [
        "--data-list",
        str(tmp_path / "list.json"),
        "--dataset-dir",
        str(series_folder),
        "--out",
        str(tmp_path / "out"),
    ]
    assert reproduce("--figure", "3", *words) == 0 and not trained
    series = nibabel.load(series_folder / content["training"][1]["ctp"]).get_fdata()
    window = perfusion_window(series.reshape(-1, series.shape[-1]).sum(0))
    said = f"case_2, simulated: frames {window.t_s + 1} to {window.t_e + 1} of {series.shape[-1]}"
    assert said in capsys.readouterr().out
    assert (tmp_path / "out/figure3.png").read_bytes().startswith(b"\x89PNG")


def test_table_1_tells_how_alike_the_images_are(listed, trained, tmp_path: Path, capsys) -> None:
    rows = ["--rows", "L1", "wl2_h1"]
    assert reproduce("--table", "1", *rows, *listed()) == 0, capsys.readouterr()
    assert [plan.overlays[0] for plan in trained] == ["table1_l1", "table1_wl2_h1"]
    (l1, best, rule) = [line for line in table(tmp_path / "out/table1.csv") if line["kind"] == "ours"]
    assert rule["row"] == "rCBF < 30 %, no network" and not rule["psnr_db_mean"] and float(rule["dsc_mean"]) >= 0
    for line in (l1, best):
        assert float(line["psnr_db_mean"]) == pytest.approx(PSNR_DB, abs=0.02)
        assert float(line["local_psnr_db_mean"]) == pytest.approx(PSNR_DB, abs=0.02)
        assert 0.2 < float(line["ssim_mean"]) < 1
    assert "published, no row of ours: GAN" in capsys.readouterr().out
    tests = json.loads((tmp_path / "out/table1_tests.json").read_text())["tests"]
    assert [(test["row"], test["against"]) for test in tests[::4]] == [("L1", "w-L2 + l_h1")]


def test_table_3_counts_the_parameters_of_what_was_trained(listed, trained, tmp_path: Path, capsys) -> None:
    width = ["--set", "base_channels=64"]
    assert reproduce("--table", "3", "--rows", "unet", "slnet", *width, *listed(without_dwi=True)) == 0
    ours = {line["row"]: line for line in table(tmp_path / "out/table3.csv") if line["kind"] == "ours"}
    assert float(ours["UNet"]["parameters_m_mean"]) == pytest.approx(31.04, abs=0.01)
    assert float(ours["SLNet"]["parameters_m_mean"]) == pytest.approx(33.84, abs=0.01)
    assert "--set base_channels=64" in ours["UNet"]["command"] and "--rows unet slnet" in ours["UNet"]["command"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "E-REPR-30: nothing to reproduce"),
        (["--table", "5", "--rows", "dwi"], "E-REPR-31: no such row"),
        (["--table", "5", "--set", "inputs=fo"], "E-REPR-01: the rows of the table decide this setting"),
        (["--table", "5"], "E-REPR-33: these rows need the true DWI"),
        (["--figure", "7", "--rows", "fo"], "E-REPR-35: the figure needs a row of its table"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], said: str, listed, trained, capsys) -> None:
    assert reproduce(*words, *listed(without_dwi=True)) == 4
    assert said in capsys.readouterr().err and not trained


def test_rows_of_equal_configs_are_trained_once(listed, trained, tmp_path: Path, capsys) -> None:
    words = ["--table", "3", "4", "5", "--rows", "slnet", "L_CE", "wce_hgd", "table5_fo"]
    assert reproduce(*words, *listed(without_dwi=True)) == 0, capsys.readouterr()
    assert [plan.overlays[0] for plan in trained] == ["table3_slnet", "table4_wce_hgd"]
    (slnet,), (ce, wce), (fo,) = (
        [line for line in table(tmp_path / f"out/table{n}.csv") if line["kind"] == "ours"][:-1] for n in (3, 4, 5)
    )
    assert slnet["dsc_mean"] == ce["dsc_mean"] != wce["dsc_mean"] == fo["dsc_mean"]
