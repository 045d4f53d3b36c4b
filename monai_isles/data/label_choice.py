"""Which values of the masks mean lesion, and whether that fits the masks that are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_isles.case import Case
from monai_isles.errors import IslesError
from monai_isles.modalities import LABEL_VALUES


def label_values(cases: Sequence[Case], folder: Path) -> dict[str, list[int]]:
    """Return what the data list says of its masks: ``label_values``, or nothing for masks of 0 and 1.

    Raises:
        IslesError: ``E-LIST-35`` when some masks hold several labels and others do not.
    Source: ours; ``tests/data/test_label_choice.py``.
    """
    kinds = {case.label_values: case.name for case in cases if case.label is not None}
    if len(kinds) > 1:
        raise IslesError(
            "E-LIST-35",
            "masks are of two kinds",
            where=str(folder),
            found="; ".join(f"{case}: {'several labels' if kind else '0 and 1'}" for kind, case in kinds.items()),
            fix="give all cases one mask with 0, 1, 2, or all cases one file for each target",
        )
    values = next(iter(kinds), None)
    return {LABEL_VALUES: list(values)} if values else {}


def require_target_there(cases: Sequence[Case], volumes_ml: Sequence[float], target: str | None, folder: Path) -> None:
    """Refuse a target that no mask of the data set holds.

    Raises:
        IslesError: ``E-LIST-34``.
    """
    masks = [case for case in cases if case.label is not None]
    if target and masks and not any(volumes_ml):
        raise IslesError(
            "E-LIST-34",
            "no mask holds this target",
            where=f"{folder}: target {target}",
            found=f"{len(masks)} masks without a voxel of value {' or '.join(map(str, masks[0].label_values or (1,)))}",
            fix="choose another --target, or restore the masks that hold it",
        )


def require_same_target(content: dict, target: str | None, path: str | Path) -> None:
    """Refuse a data list that was made for another target than the one asked for.

    Raises:
        IslesError: ``E-LIST-36``.
    """
    if target is not None and content.get("target") != target:
        raise IslesError(
            "E-LIST-36",
            "data list is for another target",
            where=str(path),
            found=f"target {content.get('target')}, {target} asked for",
            fix="leave the target out, or make the list again: monai-isles datalist DIR --target NAME",
        )
