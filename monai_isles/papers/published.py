"""The tables that the papers print, by paper and number, in the form of a summary."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from monai_isles.errors import refused
from monai_isles.papers import published_abulnaga as abulnaga
from monai_isles.papers import published_clerigues as clerigues
from monai_isles.papers import published_wang as wang

Rows = dict[str, dict[str, Any]]

_TABLES: dict[str, dict[str, Rows]] = {
    "clerigues": {"table1": clerigues.CT_TABLE_1},
    "clerigues_mri": {
        "table1_siss": clerigues.SISS_TABLE_1,
        "table1_spes": clerigues.SPES_TABLE_1,
        "table2": clerigues.SISS_TABLE_2,
        "table3": clerigues.SPES_TABLE_3,
    },
    "abulnaga": {"table1": abulnaga.TABLE_1, "table2": abulnaga.TABLE_2, "figure3": abulnaga.FIGURE_3},
    "wang": {
        "table1": wang.TABLE_1,
        "table2": wang.TABLE_2,
        "table3": wang.TABLE_3,
        "table4": wang.TABLE_4,
        "table5": wang.TABLE_5,
        "table6": wang.TABLE_6,
        "figure10": wang.FIGURE_10,
    },
}
_NAMED: dict[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "clerigues": (clerigues.CT, clerigues.CT_TABLE_1),
    "clerigues_mri_siss": (clerigues.SISS, clerigues.SISS_TABLE_1),
    "clerigues_mri_spes": (clerigues.SPES, clerigues.SPES_TABLE_1),
    "abulnaga": (abulnaga.TEST, {"ten-model ensemble": abulnaga.TABLE_2["ours"]}),
    "wang": (wang.LOCAL_TEST, wang.TABLE_5),
}


def published_tables(paper: str) -> dict[str, Rows]:
    """Return every table of one paper, ``{"table1": {row: {"n", "metrics": {key: {"mean", "sd", "n"}}}}}``.

    Units: Dice, PPV (precision) and sensitivity (recall) 0 to 1, distances mm, PSNR dB, sizes in voxels, parameters in
    millions. A number that is not printed is None; text beside a number (``unit``) says where it is in another unit.

    Args:
        paper: ``clerigues``, ``clerigues_mri``, ``abulnaga`` or ``wang``.
    Raises:
        IslesError: ``E-REP-09`` for a name that is not here.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Table 1; Clerigues 2020
        (doi:10.1016/j.cmpb.2020.105521), Tables 1 to 3; Abulnaga and Rubin 2018 (doi:10.1007/978-3-030-11723-8_36),
        Tables 1, 2, and section 5.1 for Figure 3; Wang, Song et al. 2020 (doi:10.1016/j.media.2020.101787),
        Tables 1 to 6, and section 4.2.5 for Figure 10 (Dice of DWI^o,l,h by lesion size).
    """
    return deepcopy(_TABLES[_known(paper, _TABLES)])


def published_rows(name: str) -> Rows:
    """Return the rows of one paper that stand beside a cohort, by the paper, its data and the method.

    The papers of Clerigues give the Hausdorff distance without its unit, so that stands as text under ``hd_mm``.
    ``threshold`` and ``min_size_vox`` are the pair that the paper chose.

    Args:
        name: ``clerigues``, ``clerigues_mri_siss``, ``clerigues_mri_spes``, ``abulnaga`` or ``wang``.
    Raises:
        IslesError: ``E-REP-09`` for a name that is not here.
    Source: that of ``published_tables``.
    """
    said, rows = _NAMED[_known(name, _NAMED)]
    return {f"{said}: {method}": deepcopy(dict(row)) for method, row in rows.items()}


def _known(name: str, known: Mapping[str, object]) -> str:
    if name not in known:
        raise refused("E-REP-09", where=name, found=f"rows of {', '.join(known)}")
    return name
