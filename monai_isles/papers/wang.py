"""The rows of Wang's Tables 1 to 5: what each is called, the overlay that trains it, what it is tested against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_isles.data.input_rows import ROWS as INPUTS
from monai_isles.errors import refused

OF_THE_ROWS = ("inputs", "modalities", "without_dwi", "segmenter", "terms", "synthesis", "explicit", "stages")
PROPOSED = "DWI^o,l,h"


@dataclass(frozen=True)
class SplitRow:
    """Name one row: its table, the name that the paper prints, the overlay without ``.json``, and what it reads.

    Args:
        inputs: key of ``monai_isles.data.input_rows``.
    """

    table: int
    name: str
    key: str
    inputs: str

    @property
    def synthesises(self) -> bool:
        """Tell whether the row makes a pseudo-DWI."""
        return not INPUTS[self.inputs].plain

    @property
    def needs_dwi(self) -> bool:
        """Tell whether the row cannot be trained without the true DWI."""
        return self.synthesises or self.inputs == "real_dwi"


def _rows(table: int, *rows: tuple[str, str, str]) -> tuple[SplitRow, ...]:
    return tuple(SplitRow(table, name, f"table{table}_{end}", inputs) for name, end, inputs in rows)


ROWS: dict[int, tuple[SplitRow, ...]] = {
    1: _rows(
        1, ("L1", "l1", "dwi_o"), ("L2", "l2", "dwi_o"), ("GAN", "gan", "dwi_o"), ("L2 + GAN", "l2_gan", "dwi_o"),
        ("w-L2", "wl2", "dwi_o"), ("w-L2 + l_h1", "wl2_h1", "dwi_o"), ("w-L2 + l_h2", "wl2_h2", "dwi_o"),
    ),
    2: _rows(
        2, ("F_o", "fo", "dwi_o"), ("F_o, F_l", "fo_fl", "dwi_ol"), ("F_o, F_l, F_h*", "fo_fl_fh_free", "dwi_olh"),
        ("F_o, F_l, F_h", "fo_fl_fh", "dwi_olh"), ("real DWI", "real_dwi", "real_dwi"),
    ),
    3: _rows(
        3, ("FCN", "fcn", "fo"), ("UNet", "unet", "fo"), ("R2UNet", "r2unet", "fo"), ("ResUNet", "resunet", "fo"),
        ("SLNet", "slnet", "fo"), ("SLNet (w/o SE)", "slnet_without_se", "fo"),
        ("SLNet (w/o SN)", "slnet_without_sn", "fo"),
    ),
    4: _rows(
        4, ("L_CE", "ce", "fo"), ("L_DICE", "dice", "fo"), ("L_GD", "gd", "fo"), ("L_HGD", "hgd", "fo"),
        ("L_CE + L_HGD", "ce_hgd", "fo"), ("L_WCE + L_HGD", "wce_hgd", "fo"),
    ),
    5: _rows(
        5, ("CTA", "cta", "cta"), ("F_o", "fo", "fo"), ("DWI^o", "dwi_o", "dwi_o"), ("DWI^o,l", "dwi_ol", "dwi_ol"),
        (PROPOSED, "dwi_olh", "dwi_olh"), ("DWI^o,l,h (s)", "dwi_olh_s", "dwi_olh"),
        ("F_o + DWI^o,l,h", "fo_dwi", "fo_dwi"), ("real DWI", "real_dwi", "real_dwi"),
    ),
}  # fmt: skip
AGAINST = {1: ("w-L2 + l_h1",), 2: ("F_o", "real DWI"), 3: ("SLNet",), 4: ("L_WCE + L_HGD",), 5: ("F_o", "real DWI")}
"""Rows of each table that every other row is tested against."""


def chosen_rows(tables: Sequence[int], names: Sequence[str]) -> list[SplitRow]:
    """Return the rows of some tables in the paper's order, all or those named.

    Args:
        names: as the paper prints them, or as the overlay is called, with or without ``table<n>_``; none means all.
    Raises:
        IslesError: ``E-REPR-31`` for a name that no row of these tables has.
    """
    rows = [row for table in tables for row in ROWS[table]]
    known = [{row.name, row.key, row.key.partition("_")[2]} for row in rows]
    unknown = [name for name in names if not any(name in called for called in known)]
    if unknown:
        raise refused(
            "E-REPR-31",
            where=f"--rows, table {', '.join(map(str, tables))}",
            found=", ".join(unknown),
            row="; ".join(f"{row.name} ({row.key})" for row in rows),
        )
    return [row for row, called in zip(rows, known, strict=True) if not names or called & set(names)]


def require_free(settings: Sequence[str]) -> None:
    """Refuse a setting for all rows that the rows differ in.

    Raises:
        IslesError: ``E-REPR-32``.
    """
    taken = [key for key in settings if key.removeprefix("+").replace("::", "#").split("#")[0] in OF_THE_ROWS]
    if taken:
        raise refused(
            "E-REPR-32",
            where=f"--set {', '.join(taken)}",
            found="one value for all rows",
            of_the_rows=", ".join(OF_THE_ROWS),
        )


def require_dwi(rows: Sequence[SplitRow], cases: Sequence[Mapping[str, object]]) -> None:
    """Refuse rows that need the true DWI where some training case has none.

    Args:
        cases: training section of a data list.
    Raises:
        IslesError: ``E-REPR-33``.
    """
    without = [str(case["case"]) for case in cases if "dwi" not in case]
    needy = [row.name for row in rows if row.needs_dwi]
    if without and needy:
        raise refused(
            "E-REPR-33",
            where=", ".join(needy),
            found=f"{len(without)} of {len(cases)} scans without one: {', '.join(without[:6])}",
        )
