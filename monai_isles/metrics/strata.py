"""Lesions by size: small ones are missed where large ones are easy, and a mean over all hides it."""

from __future__ import annotations

from monai_isles.errors import IslesError

NO_LESION = "no lesion"
STRATA = (NO_LESION, "<10 ml", "10-50 ml", ">50 ml")


def size_stratum(lesion_ml: float) -> str:
    """Return the stratum of a reference lesion: ``no lesion``, ``<10 ml``, ``10-50 ml`` (both ends in it), ``>50 ml``.

    Units: ml.

    Raises:
        IslesError: ``E-MET-10`` when the volume is negative or not a number.

    Source: the cuts of this project; 70 ml and below are treated alike in trials, so they are not clinical groups.
    """
    if not lesion_ml >= 0:
        raise IslesError(
            "E-MET-10",
            "not a volume",
            where="size stratum",
            found=f"{lesion_ml!r} ml",
            fix="give the volume of the reference lesion, 0 or more",
        )
    if lesion_ml == 0:
        return NO_LESION
    return STRATA[1] if lesion_ml < 10 else STRATA[2] if lesion_ml <= 50 else STRATA[3]
