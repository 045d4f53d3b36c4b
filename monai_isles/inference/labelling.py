"""Transforms for MONAI Label: load an image from one path, and return one mask on that image's voxels."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from monai_isles.data.entries import find_inputs
from monai_isles.errors import refused
from monai_isles.io.orientation import from_ras
from monai_isles.io.publish import publish_image
from monai_isles.io.read import read_image
from monai_isles.io.reader import LoadVerifiedd
from monai_isles.modalities import LABEL


class LoadStudyd(Transform):
    """Load a case from MONAI Label's ``image``: a study folder, or one NIfTI file with one channel per modality.

    Every modality is checked as by ``LoadVerifiedd``, and so is ``label`` if the entry has one.

    Shapes: a file ``(H, W, D, N)``, N modalities in the order of ``names``; each comes out as (1, H, W, D).
    Units: those of ``metadata.json``, modality by modality.
    Args:
        names: keys of the modalities.
        optional: keys that a study folder may hold or lack, among ``names`` or beside them.
    Raises: ``E-INF-45`` another number of channels or cases, and those of ``read_image``.

    >>> case = LoadStudyd(["flair", "dwi"])({"image": folder / "TRAINING" / "1"})
    >>> tuple(case["flair"].shape), tuple(case["dwi"].shape)
    ((1, 29, 29, 20), (1, 29, 29, 20))
    """

    def __init__(self, names: Sequence[str], optional: Sequence[str] = ()) -> None:
        self.names, self.optional = tuple(names), tuple(optional)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out: dict[Hashable, Any] = dict(data)
        source = Path(str(out["image"]))
        name = str(out.get("case", re.sub(r"\.nii(\.gz)?$", "", source.name)))
        entry: dict[Hashable, Any] = {"case": name} | {key: out[key] for key in (LABEL,) if key in out}
        with TemporaryDirectory(prefix="monai-isles-") as aside:
            paths = self._study(source) if source.is_dir() else self._channels(source, Path(aside))
            loaded = LoadVerifiedd([*paths, LABEL], allow_missing_keys=True)(entry | paths)
        if not source.is_dir():  # the files of the channels are gone
            for path in paths:
                loaded[path].meta["filename_or_obj"] = str(source)
        return out | loaded

    def _study(self, folder: Path) -> dict[str, str]:
        needed = [name for name in self.names if name not in self.optional]
        cases = find_inputs([folder], keys=needed, reads=self.names)
        if len(cases) != 1:
            raise self._refusal(folder, f"{len(cases)} cases")
        images = cases[0].images
        wanted = [*needed, *(name for name in self.optional if name in images)]
        return {name: str(images[name]) for name in wanted}

    def _channels(self, path: Path, aside: Path) -> dict[str, str]:
        """Write each channel to a file on the image's grid, to read it like any other image."""
        image = read_image(path, judge_time=False)
        channels = image.data if image.data.ndim == 4 else image.data[None]
        if len(channels) != len(self.names):
            raise self._refusal(path, f"{len(channels)} channels")
        made = {name: aside / f"{name}.nii" for name in self.names}
        for channel, place in zip(channels, made.values(), strict=True):
            publish_image(place, channel, image, dtype=np.float32)
        return {name: str(place) for name, place in made.items()}

    def _refusal(self, where: Path, found: str) -> Exception:
        return refused("E-INF-45", where=str(where), found=found, names=", ".join(self.names))


class LabelForegroundd(Transform):
    """Store the foreground in the image's metadata, the only input of MONAI Label's inferer; drop used entries.

    ``StepSlidingWindowInferer`` finds it as ``image.meta["foreground"]``.

    Shapes: ``foreground`` (1, H, W, D) on the grid of ``image``, both unchanged.

    >>> image, mask = MetaTensor(torch.zeros(1, 4, 4, 1)), torch.ones(1, 4, 4, 1)
    >>> made = LabelForegroundd(["head"])({"image": image, "foreground": mask, "head": "found"})
    >>> sorted(made), tuple(made["image"].meta["foreground"].shape)
    (['foreground', 'image'], (1, 4, 4, 1))
    """

    def __init__(self, drop: Sequence[str]) -> None:
        self.drop = frozenset(drop)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = {key: value for key, value in data.items() if key not in self.drop}
        mask = torch.as_tensor(np.asarray(out["foreground"]))
        out["image"] = MetaTensor(out["image"], meta=dict(out["image"].meta) | {"foreground": mask})
        return out


class LabelMaskd(Transform):
    """Return the lesion as ``pred`` on the stored voxels of the file of ``image``, without writing it.

    MONAI Label writes ``pred`` itself, with the affine of ``image``.

    Shapes: ``lesion`` (1, H, W, D) in RAS+ in; ``pred`` (1, X, Y, Z) out, 0 and 1, in the file's own axis order.

    >>> flipped = {"native_affine": np.diag([-1.0, -1.0, 1.0, 1.0])}  # the file runs from right to left
    >>> lesion = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> case = LabelMaskd()({"image": MetaTensor(torch.zeros(1, 2, 1, 1), meta=flipped), "lesion": lesion})
    >>> case["pred"].flatten().tolist()
    [0, 1]
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out: dict[Hashable, Any] = dict(data)
        affine = np.asarray(out["image"].meta["native_affine"], dtype=np.float64)
        lesion = from_ras(np.asarray(out["lesion"][0].cpu()).astype(np.uint8), affine)
        place = {"spatial_shape": np.array(lesion.shape), "original_affine": affine, "affine": affine}
        out["pred"] = MetaTensor(torch.from_numpy(np.ascontiguousarray(lesion))[None], meta=dict(place))
        out["image"] = MetaTensor(out["image"], meta=dict(out["image"].meta) | place)
        return out
