"""How much of the training images is lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monai_isles.errors import IslesError
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL, LABEL_VALUES
from monai_isles.progress import progress


def measured_lesion_share(entries: Sequence[Mapping[str, object]]) -> float:
    """Return the voxels of lesion over all voxels of the masks of ``entries``, background of the image included.

    Only the masks are read, each once.

    Args:
        entries: what ``load_entries`` gives for the training folds, with ``label``.
    Raises:
        IslesError: ``E-LBL-10`` when no mask holds a lesion, and those of ``read_image``.
    Source: w of equation (4), Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36): "the empirical measure of
        lesions in the training dataset"; ``tests/data/test_lesion_share.py``.
    """
    lesion = total = 0
    for entry in progress(entries, "measuring lesions", total=len(entries)):
        values = entry.get(LABEL_VALUES)
        mask = read_image(str(entry[LABEL]), kind="label", where=str(entry["case"]), label_values=values).data > 0
        lesion, total = lesion + int(mask.sum()), total + mask.size
    if not lesion:
        raise IslesError(
            "E-LBL-10",
            "no lesion in the training masks",
            where="weight of the cross-entropy",
            found=f"{len(entries)} masks, {total} voxels, none of lesion",
            fix="check the masks and the folds of the data list",
        )
    return lesion / total
