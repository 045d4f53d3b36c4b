"""The tables of Abulnaga and Rubin 2018, and what its text states of Figure 3."""

from __future__ import annotations

from monai_isles.papers.printed import printed_rows

TEST = "Abulnaga 2018, ISLES 2018 test"
_LOSSES = ("focal", "cross_entropy")
_SIX = ("dsc", "hd_mm", "assd_half_sum_mm", "ppv", "sensitivity", "avd_ml")
_DISTANCE = "x 1,000,000, as printed"

_FOLDS = printed_rows(
    """
    fold 1 | 0.64 | 0.64
    fold 2 | 0.42 | 0.37
    fold 3 | 0.48 | 0.50
    fold 4 | 0.55 | 0.54
    fold 5 | 0.58 | 0.41
    """,
    _LOSSES,
    n=None,
)
TABLE_1 = {**_FOLDS, **printed_rows("total | 0.54 ± 0.09 | 0.49 ± 0.11", _LOSSES, n=5, of="folds")}
TABLE_2 = printed_rows(
    """
    ours | 0.44 | 1.62 | 1.62 | 0.59 | 0.43 | 10.18
    best | 0.51 | 0.97 | 0.97 | 0.62 | 0.58 | 10.08
    """,
    _SIX,
    n=62,
    units={"hd_mm": _DISTANCE, "assd_half_sum_mm": _DISTANCE},
)
TABLE_2["place"] = dict(zip(_SIX, ("6th/38", "6th/38", "6th/38", "3rd/38", "18th/38", "2nd/38"), strict=True))
FIGURE_3 = printed_rows(
    """
    PSPNet (pre-trained) | 0.54 ± 0.09 | 0.49 ± 0.11
    PSPNet (scratch) | |
    2D U-Net | |
    3D U-Net | |
    3D V-Net | |
    """,
    _LOSSES,
    n=5,
    of="folds",
)
FIGURE_3["PSPNet (pre-trained)"]["pretraining_dice_points"] = 7.0
