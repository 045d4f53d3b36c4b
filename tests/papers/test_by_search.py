"""The rows of the ablation table on maps made up by hand: what is shared, what is refused, what is tested."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

from monai_isles.bundle import Bundle
from monai_isles.crossval import ensemble
from monai_isles.crossval.plan import Plan, read_plan
from monai_isles.data import make_datalist
from monai_isles.errors import IslesError
from monai_isles.io import load_state, publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state
from monai_isles.modalities import CT_CHANNELS
from monai_isles.papers import study as papers_study
from monai_isles.papers.by_search import run_row
from monai_isles.papers.study import PaperRow, Study, paper_rows, require_same_training, take_over

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/clerigues"
FOLDS = (0, 1)
ROWS = paper_rows(BUNDLE)
TABLE = [row for row in ROWS if not row.optional]
WRONG = {"baseline": 7, "single_rt": 6, "single_rt_sm": 3, "single_rt_sm_uf": 1}


@pytest.fixture
def data(tmp_path: Path, perfusion_entry: Callable[..., dict]) -> Path:
    """Four heads with a core of their own, a data list of two folds and one test case."""
    entries = [perfusion_entry(f"case_{n}", angle_deg=3.0 * n) for n in range(1, 6)]
    listed = [
        {"case": e["case"], "subject": f"s{n}", "fold": n % 2,
         **{k: Path(p).relative_to(tmp_path).as_posix() for k, p in e.items() if k not in ("case", "subject")}}
        for n, e in enumerate(entries)
    ]  # fmt: skip
    test = {key: value for key, value in listed.pop().items() if key not in ("fold", "label")}
    publish_json(tmp_path / "list.json", {"name": "heads", "simulated": True, "training": listed, "test": [test]})
    return tmp_path


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch, save_volume: Callable[..., Path], make_head) -> list[tuple[str, bool]]:
    """Put maps that are wrong by a row's own count of columns where training would stand; tell what was trained."""
    done: list[tuple[str, bool]] = []

    def cross_validate(plan: Plan, content: dict, out: Path) -> dict[str, object]:
        key = out.parent.name
        for fold in plan.folds:
            model = out / f"fold_{fold}/model.pt"
            done.append((key, model.is_file()))
            if not model.is_file():
                model.parent.mkdir(parents=True, exist_ok=True)
                model.write_text(f"{plan.protocol} {key} {fold}")
                (model.parent / "curves.csv").write_text("epoch,train_loss,val_loss\n1,0.5,0.6\n2,0.4,0.5\n")
                (model.parent / "run.json").write_text("{}")
        publish_json(out / "crossval.json", plan.record())
        publish_json(out / "data_list.json", content)
        for entry in content["training"]:
            core = make_head(3.0 * int(entry["case"][-1]))[0]["label"]
            columns = WRONG[key] + int(entry["case"][-1]) % 2
            found = np.roll(core, columns, axis=0)
            folder = out / "predictions" / entry["case"]
            save_volume(folder / "probability.nii.gz", np.where(found, 0.85, 0.0))
            digest = sha256_of(out / f"fold_{entry['fold']}/model.pt")
            publish_json(folder / "result.json", {"weights_sha256": [digest]})
        cases = {entry["case"]: {"outcome": "ok"} for entry in content["training"]}
        return {"folds": {fold: {"outcome": "ok"} for fold in plan.folds}, "cases": cases}

    monkeypatch.setattr(papers_study, "cross_validate", cross_validate)
    return done


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def study(data: Path, **more: object) -> Study:
    return Study(BUNDLE, data / "list.json", data, resamples=200, **more)


def test_each_row_is_a_named_overlay_of_the_bundle() -> None:
    keys = [row.key for row in ROWS]
    assert [row.key for row in TABLE] == ["baseline", "single_rt", "single_rt_sm", "single_rt_sm_uf"]
    networks = {row.key: Bundle(BUNDLE, row.overlays).config("train")["channels"] for row in ROWS}
    assert [len(networks[key]) for key in keys] == [5, 5, 5, 5, 10, 10]
    assert not [name for name in networks["single_rt"] if name.endswith("_sym")]
    passes = [Bundle(BUNDLE, row.overlays).config("inference")["mc_passes"] for row in ROWS]
    assert passes == [1, 1, 1, 1, 1, 3]
    assert len(Bundle(BUNDLE, ("single_rt.json",)).config("inference")["channels"]) == 5


def test_filtering_predicts_again_with_the_networks_of_the_row_above(data: Path, by_hand: list) -> None:
    for row in TABLE[1:]:
        result = run_row(study(data), row, data / "out")
        assert [table.name for table in result.tables] == ["paper", "paper-training-nested-tuning"]
    assert by_hand == [("single_rt", False)] * 2 + [("single_rt_sm", False)] * 2 + [("single_rt_sm_uf", True)] * 2
    for fold in FOLDS:
        folders = [data / "out" / key / "paper" / f"fold_{fold}" for key in ("single_rt_sm", "single_rt_sm_uf")]
        assert len({sha256_of(folder / "model.pt") for folder in folders}) == 1
    plan = read_plan(data / "out/single_rt_sm_uf/paper")
    before = (data / "out/single_rt_sm_uf/paper/fold_0/model.pt").stat().st_mtime_ns
    take_over(plan, data / "out/single_rt_sm/paper", data / "out/single_rt_sm_uf/paper")
    assert (data / "out/single_rt_sm_uf/paper/fold_0/model.pt").stat().st_mtime_ns == before


def test_nested_trains_again_and_is_the_second_table(data: Path, by_hand: list) -> None:
    content = json.loads((data / "list.json").read_text())
    content["training"][0]["fold"] = 2
    publish_json(data / "list.json", content)
    result = run_row(study(data), ROWS[0], data / "out", nested=True)
    assert [table.name for table in result.tables] == ["paper", "nested"] and len(by_hand) == 6
    assert [one["over"] for one in result.record["optimism"]] == ["paper-training-nested-tuning", "nested"]


def test_settings_of_the_rows_and_rows_that_share_wrongly_are_refused(data: Path) -> None:
    with pytest.raises(IslesError, match="E-REPR-01: the rows of the table decide this setting(?s:.*)mc_passes"):
        study(data, settings={"mc_passes": 3})
    other = PaperRow("table1", "x", "x", ("released.json",), trained_as="single_rt_sm", predicts_with=("mc_passes",))
    with pytest.raises(IslesError, match="E-REPR-03: rows that share networks(?s:.*)differing: .*batch_size"):
        require_same_training(study(data), other)


def test_a_failed_fold_stops_the_table(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = {
        "folds": {0: {"outcome": "failed", "error": "ended with code 9"}},
        "cases": {"case_1": {"outcome": "missing"}},
    }
    monkeypatch.setattr(papers_study, "cross_validate", lambda plan, content, out: ended)
    with pytest.raises(IslesError, match="E-REPR-02: the row is not complete(?s:.*)fold 0: ended with code 9; case_1"):
        run_row(study(data), ROWS[0], data / "out")


def test_a_test_section_needs_a_search(data: Path) -> None:
    with pytest.raises(IslesError, match="E-REPR-04: no searched cross-validation there(?s:.*)no plan"):
        ensemble.predict_unseen(data, data / "out")


def test_the_test_section_is_predicted_by_the_mean_of_all_folds_with_the_searched_pair(
    phantom_folder: Path, untrained_weights: Path, tmp_path: Path
) -> None:
    content = make_datalist(phantom_folder, folds=2)
    content["test"] = [{k: v for k, v in content["training"].pop().items() if k != "fold"} | {"subject": "unseen"}]
    folder = tmp_path / "cv"
    other = {k: 0.5 * v if v.is_floating_point() else v for k, v in load_state(untrained_weights).items()}
    publish_state(folder / "fold_0/model.pt", load_state(untrained_weights))
    publish_state(folder / "fold_1/model.pt", other)
    publish_json(folder / "data_list.json", content)
    publish_json(folder / "postprocessing.json", {"threshold": 0.4, "min_size_vox": 50, "min_size_mm3": 1.0})
    plan = Plan(
        bundle=str(BUNDLE), dataset_dir=str(phantom_folder), protocol="paper", folds=FOLDS, cases={0: [], 1: []},
        overlays=("single_rt_sm.json",), settings={"step": [32, 32]}, modalities=CT_CHANNELS, max_epochs=1,
        data_name="phantom", simulated=True, fingerprints={},
    )  # fmt: skip
    publish_json(folder / "crossval.json", plan.record())
    cases = ensemble.predict_unseen(folder, tmp_path / "test")
    (name,) = cases
    assert cases[name]["outcome"] == "ok" and name == content["test"][0]["case"]
    result = json.loads((tmp_path / "test" / name / "result.json").read_text())
    assert (result["threshold"], result["min_size_vox"], result["mc_passes"]) == (0.4, 50, 1)
    assert result["weights_sha256"] == [sha256_of(folder / f"fold_{fold}/model.pt") for fold in FOLDS]


def test_the_command_writes_both_tables_with_tests_beside_the_published_rows(data: Path, by_hand: list, capsys) -> None:
    main = runpy.run_path(str(ROOT / "tools/reproduce.py"))["main"]
    words = ["clerigues", "--table", "1", "--data-list", str(data / "list.json"), "--dataset-dir", str(data)]
    assert main([*words, "--bundle", str(BUNDLE), "--out", str(data / "out"), "--set", "mc_passes=2"]) == 4
    assert "E-REPR-01" in capsys.readouterr().err
    assert main([*words, "--bundle", str(BUNDLE), "--out", str(data / "out")]) == 0
    said = capsys.readouterr().out
    assert said.count("heads (simulated data, not patients), n 4; 2 folds by subject") == 2
    assert "53.5 +- 24.6" in said and "rCBF < 30 %" in said and "published, no row of ours" not in said
    names = ["Baseline", "single +RT", "+RT +SM", "+RT +SM +UF"]
    for table in ("table", "table_paper-training-nested-tuning"):
        lines = read(data / f"out/{table}.csv")
        assert [line["row"] for line in lines if line["kind"] == "ours"] == [
            *names,
            "rCBF < 30 %",
            "best single threshold",
        ]
        assert [line["row"] for line in lines if line["kind"] == "published"] == names
    assert [lines[3][f"{key}_mean"] for key in ("threshold", "min_size_vox", "r2")] == ["0.1", "300", "0.74"]
    rows = {}
    for key in ("single_rt", "single_rt_sm"):
        with (data / "out" / key / "paper/search/paper/per_case.csv").open(newline="") as file:
            rows[key] = np.array([float(row["dsc"]) for row in csv.DictReader(file)])
    first, second = rows["single_rt"], rows["single_rt_sm"]
    tests = read(data / "out/table_tests.csv")
    pairs = dict.fromkeys((line["row"], line["against"]) for line in tests)
    assert list(pairs) == [("single +RT", "Baseline"), ("+RT +SM", "single +RT"), ("+RT +SM +UF", "+RT +SM"),
                           ("+RT +SM", "Baseline"), ("+RT +SM +UF", "Baseline"),
                           ("rCBF < 30 %", "+RT +SM +UF"), ("best single threshold", "+RT +SM +UF")]  # fmt: skip
    assert [line["metric"] for line in tests] == ["dsc", "ppv", "sensitivity", "hd_mm"] * 7
    tests = tests[4:]  # +RT +SM against single +RT
    assert float(tests[0]["cases_mean"]) == pytest.approx((second - first).mean())
    assert float(tests[0]["cases_p_t"]) == pytest.approx(ttest_rel(second, first).pvalue)
    assert float(tests[0]["cases_p_wilcoxon"]) == pytest.approx(wilcoxon(second - first).pvalue)
    assert "+RT +SM against single +RT: " in said and "<table" in (data / "out/table.html").read_text()
    assert {p.name for p in (data / "out").iterdir() if p.is_file()} == {
        *(f"{table}{end}" for table in ("table", "table_paper-training-nested-tuning")
          for end in (".csv", ".txt", ".html", "_tests.csv", "_tests.json")),
        "run.json", "overlays.png",
        *(f"curves_{key}_fold_0.png" for key in ("baseline", "single_rt", "single_rt_sm")),
    }  # fmt: skip


def test_a_submission_without_test_scans_is_refused_before_any_training(data: Path, by_hand: list, capsys) -> None:
    main = runpy.run_path(str(ROOT / "tools/reproduce.py"))["main"]
    content = json.loads((data / "list.json").read_text())
    publish_json(data / "list.json", {**content, "test": []})
    words = [
        "clerigues",
        "--data-list",
        str(data / "list.json"),
        "--dataset-dir",
        str(data),
        "--out",
        str(data / "out"),
    ]
    assert main([*words, "--table", "2"]) == 4 and not by_hand
    assert "E-REPR-05" in capsys.readouterr().err
    assert main([*words, "--test-set", "try"]) == 4 and not by_hand
    assert "E-REPR-05: no scans to submit" in capsys.readouterr().err
