"""One scan of one subject: which file is which modality."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """Name the files of one scan.

    Args:
        name: unique name of the scan, ``case_14``.
        subject: the person scanned; several cases may share one, and folds never split one.
        images: absolute path by modality key (``monai_isles.modalities.MODALITIES``).
        label: absolute path of the lesion mask, None where there is none.
        label_values: the values of the mask that mean lesion, None for a mask of 0 and 1.
        fold: cross-validation fold, None outside the training section.
        resample: images on other grids than the first are to be resampled, by the user's word.
    """

    name: str
    subject: str
    images: dict[str, Path] = field(default_factory=dict)
    label: Path | None = None
    fold: int | None = None
    label_values: tuple[int, ...] | None = None
    resample: bool = False

    def entry(self) -> dict[str, object]:
        """Return the flat dictionary that MONAI transforms read: ``case``, ``subject``, ``fold``, one path a key."""
        flat: dict[str, object] = {"case": self.name, "subject": self.subject, "fold": self.fold}
        flat |= {key: str(path) for key, path in self.images.items()}
        if self.label is not None:
            flat["label"] = str(self.label)
            if self.label_values is not None:
                flat["label_values"] = list(self.label_values)
        if self.resample:
            flat["resample"] = True
        return flat
