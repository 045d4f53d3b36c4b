"""Describe the rows of Wang's Table 5: inputs, stacked channels, targets, and the fallback without DWI."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from monai_isles.data.datalist import read_datalist
from monai_isles.errors import refused
from monai_isles.modalities import LABEL, PERFUSION_MAPS

log = logging.getLogger(__name__)
_MAPS, _FRAMES = list(PERFUSION_MAPS), 6


@dataclass(frozen=True, repr=False)
class InputRow:
    """Describe one row of the table: images to read, channels, target.

    Args:
        reads: modalities to load.
        channels: entries stacked to the image, in this order.
        plain: the segmenter sees the image itself; else it sees a pseudo-DWI (and the maps, ``with_maps``).
        low, high: temporal maximum and extracted feature go into the generator.
        segmenter_channels: channels that the segmenter sees.
        note: reason for taking this row instead of the requested one, else empty.
    """

    name: str
    reads: list[str]
    channels: list[str]
    segmenter_channels: int
    plain: bool = False
    low: bool = False
    high: bool = False
    with_maps: bool = False
    note: str = ""

    def __repr__(self) -> str:
        made = "" if self.plain else "pseudo-DWI from "
        beside = ", beside the maps" if self.with_maps else ""
        text = f" ({self.note})" if self.note else ""
        return f"{self.name}: segmented from {made}{', '.join(self.channels)}{beside}{text}"

    @property
    def targets(self) -> list[str]:
        """Return the modalities needed only for training."""
        return [] if self.plain else ["dwi"]

    @property
    def target(self) -> list[str]:
        return [LABEL, *self.targets, "weight"]

    @property
    def extras(self) -> list[str]:
        """Return the maps that a prediction yields besides the lesion."""
        return [] if self.plain else ["pseudo_dwi"]


_SERIES = [*_MAPS, "ctp"]
ROWS = {
    row.name: row
    for row in (
        InputRow("cta", ["ctp"], ["frames"], _FRAMES, plain=True),
        InputRow("fo", _MAPS, _MAPS, len(_MAPS), plain=True),
        InputRow("dwi_o", _MAPS, _MAPS, 1),
        InputRow("dwi_ol", _SERIES, [*_MAPS, "mip"], 1, low=True),
        InputRow("dwi_olh", _SERIES, [*_MAPS, "mip", "frames"], 1, low=True, high=True),
        InputRow("fo_dwi", _SERIES, [*_MAPS, "mip", "frames"], 1 + len(_MAPS), low=True, high=True, with_maps=True),
        InputRow("real_dwi", ["dwi"], ["dwi"], 1, plain=True),
    )
}


def input_row(
    wanted: str, *, data_list: Mapping | str | Path | None = None, without_dwi: str | None = None
) -> InputRow:
    """Return the row ``wanted``, or ``without_dwi`` if it synthesises a DWI and few training cases have one.

    Few are less than half: else the others would be left out for the few. The change is logged as a warning and kept
    in the row's ``note``, which goes to ``run.json``. Where more have one, loading names the cases that lack it.

    Args:
        wanted: cta, fo, dwi_o, dwi_ol, dwi_olh, fo_dwi or real_dwi.
        data_list: the list to be trained on, or its path; None returns the row ``wanted``.
        without_dwi: row for data without DWI; None never changes the row.
    Raises: ``E-LIST-50`` for another name.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.5 and Table 5; ``tests/data/test_input_rows.py``.

    >>> input_row("dwi_ol").channels
    ['cbf', 'cbv', 'mtt', 'tmax', 'mip']
    """
    row = _require_row(wanted)
    if data_list is None or without_dwi is None or row.plain:
        return row
    content = data_list if isinstance(data_list, Mapping) else read_datalist(data_list)
    cases = content.get("training", [])
    held = sum("dwi" in case for case in cases)
    if 2 * held >= len(cases):
        return row
    share = f"{held or 'none'} of the {len(cases)} training cases {'has' if held < 2 else 'have'} a DWI"
    note = f"{share}: training {without_dwi} instead of {wanted}"
    text = "%s, on the perfusion maps alone; nothing is synthesised. Predict and cross-validate with --overlay %s"
    log.warning(text, note, without_dwi)
    return replace(_require_row(without_dwi), note=note)


def _require_row(name: str) -> InputRow:
    if name not in ROWS:
        raise refused("E-LIST-50", where="inputs", found=repr(name), rows=", ".join(ROWS))
    return ROWS[name]
