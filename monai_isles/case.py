"""One scan of one subject: the file of each modality, and the conversion to and from MONAI entries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_isles.modalities import LABEL, LABEL_VALUES, MODALITIES

RESAMPLE, CHECKSUMS = "resample", "sha256"


def readable(name: str) -> str:
    """Return a file's name whose bytes are no UTF-8 as Latin-1, in which old archives store ``Müller``.

    >>> readable("M\\udcfcller"), readable("患者")
    ('Müller', '患者')
    """
    try:
        name.encode()
        return name
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")


@dataclass(frozen=True)
class Case:
    """Hold the files of one scan.

    Args:
        name: unique name of the scan, ``case_14``.
        subject: the person scanned; several cases may share one, and folds never split one.
        images: path by modality key (``monai_isles.modalities.MODALITIES``).
        label: path of the lesion mask, None without one.
        label_values: the values of the mask that mean lesion, None for a mask of 0 and 1.
        fold: cross-validation fold, None outside the training section.
        resample: the user requests that images on other grids than the first are resampled.
        sha256: checksums in the data list, by key.

    >>> case = Case("case_1", "anna", {"ct": Path("ct.nii")}, fold=2, resample=True)
    >>> case.entry()
    {'case': 'case_1', 'subject': 'anna', 'ct': 'ct.nii', 'fold': 2, 'resample': True}
    >>> Case.from_entry(case.entry()) == case
    True
    """

    name: str
    subject: str
    images: dict[str, Path] = field(default_factory=dict)
    label: Path | None = None
    fold: int | None = None
    label_values: tuple[int, ...] | None = None
    resample: bool = False
    sha256: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("name", "subject"):
            object.__setattr__(self, key, readable(getattr(self, key)))

    def entry(self) -> dict[str, object]:
        """Return the flat dictionary that MONAI transforms read: one path per key that the case has."""
        flat: dict[str, object] = {"case": self.name, "subject": self.subject}
        flat |= {key: str(path) for key, path in self.images.items()}
        if self.label is not None:
            flat[LABEL] = str(self.label)
            flat[LABEL_VALUES] = self.label_values and list(self.label_values)
        flat |= {"fold": self.fold, RESAMPLE: self.resample or None, CHECKSUMS: dict(self.sha256) or None}
        return {key: value for key, value in flat.items() if value is not None}

    @classmethod
    def from_entry(cls, entry: Mapping[Any, Any]) -> Case:
        """Return the case of a flat dictionary, also of a data list; unknown keys are ignored."""
        label: str | None = entry.get(LABEL)
        values: Sequence[int] | None = entry.get(LABEL_VALUES)
        return cls(
            name=str(entry["case"]),
            subject=str(entry.get("subject", entry["case"])),
            images={key: Path(str(entry[key])) for key in MODALITIES if entry.get(key)},
            label=None if label is None else Path(str(label)),
            fold=entry.get("fold"),
            label_values=None if values is None or label is None else tuple(values),
            resample=bool(entry.get(RESAMPLE, False)),
            sha256=dict(entry.get(CHECKSUMS) or {}),
        )
