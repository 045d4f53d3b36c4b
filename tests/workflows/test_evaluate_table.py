"""The table that is printed: data, n, rules and both methods are in it."""

from __future__ import annotations

import numpy as np

from monai_isles.reports.tables import summary_table
from monai_isles.workflows.evaluate import score_folder


def test_the_table_names_data_counts_and_rules(mask_folders, tmp_path) -> None:
    pred, ref, _ = mask_folders
    (ref / "SIMULATED.txt").write_text("simulated")
    text = summary_table(score_folder(pred, ref, tmp_path / "out"))
    assert text.splitlines()[0] == "ref (simulated data, not patients): 5 cases of 5 subjects"
    assert "empty references 2, empty predictions 2, missing predictions 0, undefined distances 2" in text
    assert "dsc: both empty 1, one empty 0" in text and "network  0.533 +- " in text
    assert "with the diagonal in their place" in text
    head, row = text.splitlines()[2:4]
    assert row[head.index("R2") - 2 :].startswith("  ") and row[head.index("R2")] != " "  # columns are aligned


def test_a_single_case_has_no_spread_and_no_interval(tmp_path, save_volume) -> None:
    for side in ("pred", "ref"):
        save_volume(tmp_path / side / "case_1.nii.gz", np.ones((4, 4, 2), bool))
    save_volume(tmp_path / "pred" / "other.nii.gz", np.ones((4, 4, 2), bool))
    text = summary_table(score_folder(tmp_path / "pred", tmp_path / "ref", tmp_path / "out"))
    assert "1.000 +- -" in text and "interval - to -" in text and "ref (data as given): 1 cases" in text
    assert "predictions without a reference, not scored: other\n" in text
