"""Rows without a search, their ensemble and their contours, on maps made up by hand and on untrained small networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.crossval.ensemble import (
    ensemble_members,
    inference_of,
    require_one_network,
    score_out_of_fold,
    score_unseen,
)  # fmt: skip
from monai_isles.crossval.plan import Plan
from monai_isles.data import find_inputs, make_datalist
from monai_isles.errors import IslesError
from monai_isles.inference import load_predictor
from monai_isles.io import load_state, publish_json, read_image
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state
from monai_isles.networks import PSPNet
from monai_isles.papers import study as papers_study
from monai_isles.papers.by_folds import dice_by_fold, over_folds
from monai_isles.papers.figures import lesion_slices
from monai_isles.papers.study import PaperRow, Study, Trained, train_scored

BUNDLE = Path(__file__).parents[2] / "bundles/abulnaga"
SHARE = {"focal": 1.0, "cross_entropy": 0.45}  # of the lesion's columns that the row's maps hold
SMALL = {"base_channels": 2, "max_epochs": 1}


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, phantom_folder: Path) -> None:
    """Put maps of a known Dice and untrained networks where training would stand."""

    def cross_validate(plan: Plan, content: dict, out: Path) -> dict[str, object]:
        publish_json(out / "crossval.json", plan.record())
        publish_json(out / "data_list.json", content)
        for fold in plan.folds:
            torch.manual_seed(len(out.name) + fold)
            publish_state(out / f"fold_{fold}/model.pt", PSPNet(base_channels=2).state_dict())
        for entry in content["training"]:
            image = nibabel.load(phantom_folder / entry["label"])
            lesion = np.asarray(image.dataobj) > 0
            columns = np.flatnonzero(lesion.any((1, 2)))
            found = lesion.copy()
            found[columns[max(1, round(SHARE[out.name] * len(columns))) :]] = False
            folder = out / "predictions" / entry["case"]
            folder.mkdir(parents=True, exist_ok=True)
            nibabel.save(
                nibabel.Nifti1Image(np.where(found, 0.9, 0.05).astype(np.float32), image.affine, image.header),
                folder / "probability.nii.gz",
            )
            publish_json(
                folder / "result.json", {"weights_sha256": [sha256_of(out / f"fold_{entry['fold']}/model.pt")]}
            )
        cases = {entry["case"]: {"outcome": "ok"} for entry in content["training"]}
        return {"folds": {fold: {"outcome": "ok"} for fold in plan.folds}, "cases": cases}

    monkeypatch.setattr(papers_study, "cross_validate", cross_validate)


@pytest.fixture
def rows(phantom_folder: Path, tmp_path: Path) -> Callable[..., Trained]:
    """Return a function that cross-validates the row of a loss by hand."""
    publish_json(tmp_path / "list.json", make_datalist(phantom_folder, folds=2))

    def run(loss: str, **settings: object) -> Trained:
        study = Study(BUNDLE, tmp_path / "list.json", phantom_folder, settings={**SMALL, **settings})
        row = PaperRow("figure3", "PSPNet", loss, (f"{loss}.json",), column=loss)
        return train_scored(study, row, tmp_path / "out" / row.key)

    return run


def test_the_totals_of_the_papers_table_follow_from_its_folds() -> None:
    focal, cross_entropy = (0.64, 0.42, 0.48, 0.55, 0.58), (0.64, 0.37, 0.50, 0.54, 0.41)
    for dice, mean, spread in ((focal, 0.53, 0.09), (cross_entropy, 0.49, 0.11)):  # the paper prints 0.54 for 0.534
        total = over_folds([{"fold": fold, "dsc": value} for fold, value in enumerate(dice)])
        assert (round(total["mean"], 2), round(total["sd"], 2), total["n"]) == (mean, spread, 5)


def test_a_fold_counts_once_however_many_scans_it_has() -> None:
    lines = [{"fold": 0, "dsc": 0.2}, {"fold": 0, "dsc": 0.4}, {"fold": 1, "dsc": 0.9}]
    assert dice_by_fold(lines) == pytest.approx({0: 0.3, 1: 0.9})
    assert over_folds(lines)["mean"] == pytest.approx(0.6) and over_folds(lines[:2])["sd"] is None


def test_every_scan_is_scored_at_one_half_with_its_fold(rows: Callable[..., Trained]) -> None:
    result = rows("focal")
    assert [line["dsc"] for line in result.cases] == [1.0] * 3
    assert {line["case"]: line["fold"] for line in result.cases} == {c.name: c.fold for c in result.predictions.cases}
    assert result.predictions.plan.overlays == ("focal.json",)


def test_out_of_fold_the_ensemble_is_the_mean_of_the_maps_of_the_scans_own_fold(
    rows: Callable[..., Trained],
) -> None:
    whole, part = rows("focal"), rows("cross_entropy")
    assert all(line["dsc"] < 0.9 for line in part.cases)
    scored = score_out_of_fold([whole.predictions, part.predictions])
    # 0.9 and 0.05 average below one half: what one network alone finds is gone
    assert [line["dsc"] for line in scored] == pytest.approx([line["dsc"] for line in part.cases])


def test_the_members_are_all_folds_of_all_rows_and_their_bundle_builds_their_network(
    rows: Callable[..., Trained],
) -> None:
    members = [rows("focal").predictions, rows("cross_entropy").predictions]
    listed = ensemble_members(members)
    assert [(one["row"], one["fold"]) for one in listed] == [
        ("focal", 0), ("focal", 1), ("cross_entropy", 0), ("cross_entropy", 1)
    ]  # fmt: skip
    assert all(sha256_of(Path(one["weights"])) == one["sha256"] for one in listed)
    assert inference_of(members[0].plan)["base_channels"] == 2


def test_rows_of_different_networks_are_no_ensemble(rows: Callable[..., Trained]) -> None:
    members = [rows("focal").predictions, rows("cross_entropy", base_channels=3).predictions]
    with pytest.raises(IslesError, match="E-REPR-20: these cross-validations cannot form an ensemble(?s:.*)network"):
        require_one_network(members)


@pytest.mark.long
def test_unseen_scans_get_the_mean_probability_of_all_networks(
    rows: Callable[..., Trained], phantom_folder: Path, tmp_path: Path, unseen_folder: Path
) -> None:
    members = [rows("focal").predictions, rows("cross_entropy").predictions]
    lines = score_unseen(members, tmp_path / "unseen", folder=unseen_folder)
    (line,) = lines
    image = read_image(tmp_path / "unseen" / line["case"] / "probability.nii.gz", kind="probability").data
    by_hand = []
    for one in ensemble_members(members):
        network = PSPNet(base_channels=2).eval()
        network.load_state_dict(load_state(one["weights"]))
        predictor = load_predictor(BUNDLE, tmp_path / "x", weights=[Path(one["weights"])], changes={"base_channels": 2})
        entry = find_inputs([unseen_folder])[0].entry()
        slices = predictor.preprocessing(entry)["image"].as_tensor().movedim(-1, 0)
        with torch.inference_mode():
            by_hand.append(network(slices).softmax(1)[:, 1].movedim(0, -1).numpy())
    assert len(by_hand) == 4
    np.testing.assert_allclose(image, np.mean(by_hand, axis=0), atol=2e-6)


def test_a_scan_that_was_trained_on_is_refused(
    rows: Callable[..., Trained], phantom_folder: Path, tmp_path: Path
) -> None:
    members = [rows("focal").predictions, rows("cross_entropy").predictions]
    with pytest.raises(IslesError, match="E-REPR-21: scans to predict were trained on(?s:.*)case_1 is case_1"):
        score_unseen(members, tmp_path / "unseen", folder=phantom_folder)
    assert score_unseen(members, tmp_path / "unseen") == []


def test_contours_come_from_the_slice_with_most_lesion_best_scan_first(rows: Callable[..., Trained]) -> None:
    results = {"cross-entropy": rows("cross_entropy"), "focal": rows("focal")}
    drawn = lesion_slices({name: (one.predictions, one.cases) for name, one in results.items()}, 2)
    dice = sorted((line["dsc"] for line in results["cross-entropy"].cases), reverse=True)
    assert len(drawn) == 2 and [f"Dice {d:.2f}" in title for (title, *_), d in
                                zip(drawn, (dice[0], dice[-1]), strict=True)] == [True, True]  # fmt: skip
    for _, image, masks in drawn:
        assert list(masks) == ["truth", "cross-entropy", "focal"] and image.min() >= 0 and image.max() <= 80
        assert masks["truth"].sum() == masks["focal"].sum() > masks["cross-entropy"].sum() > 0
