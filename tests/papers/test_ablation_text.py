"""The ablation table names the data of the published lines."""

from __future__ import annotations

from monai_isles.papers.ablation_table import TableRow, ablation_text
from monai_isles.papers.published import published_rows


def test_the_data_of_the_published_lines_are_named() -> None:
    rows = [
        TableRow(name, "published", [(row["threshold"], row["min_size_vox"])], row)
        for name, row in published_rows("clerigues_mri_siss").items()
    ]
    said = {"paper": "as published"}
    text = ablation_text({"paper": rows}, {"paper": []}, said, published_on="ISLES 2015 SISS training, n 28")
    assert "other cases (ISLES 2015 SISS training, n 28)" in text and "ISLES 2018" not in text
    assert "71.0 +- 19.0" in text and "29.5 +- 29.5" in text
    assert "other cases (ISLES 2018 training, n 94)" in ablation_text({"paper": rows}, {"paper": []}, said)
