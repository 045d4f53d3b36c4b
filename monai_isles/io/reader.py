"""Use ``read_image`` in MONAI: a reader for LoadImaged, and a loader that checks each key by its modality."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.data import ImageReader, MetaTensor
from monai.transforms import MapTransform
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from monai_isles.errors import refused
from monai_isles.io.case_images import read_case_images
from monai_isles.io.read import Image, read_image
from monai_isles.modalities import LABEL_VALUES


class VerifiedReader(ImageReader):
    """Read NIfTI for MONAI's LoadImaged, verified, in RAS+.

    MONAI tries its other readers when ``read`` raises, so the file is opened in ``get_data``, whose errors stand.

    Shapes: (H, W, D); a series (T, H, W, D) with ``original_channel_dim`` 0.
    Args:
        kind, label_values: as in ``read_image``; kind None reads any single volume or series.
    Raises: those of ``read_image``; ``E-DIM-08`` when several files are given as one image.

    >>> from monai.transforms import LoadImage
    >>> LoadImage(reader=VerifiedReader, image_only=True)(case.images["flair"]).shape
    torch.Size([29, 29, 20])
    """

    def __init__(self, kind: str | None = None, label_values: Sequence[int] | None = None) -> None:
        self.kind, self.label_values = kind, label_values

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Accept NIfTI names; the content is checked when it is read."""
        return all(str(name).lower().endswith((".nii", ".nii.gz")) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: object) -> tuple[Path, ...]:
        """Keep the names; nothing is opened yet."""
        return tuple(Path(str(name)) for name in ensure_tuple(data))

    def get_data(self, img: tuple[Path, ...]) -> tuple[np.ndarray, dict]:
        """Return the voxels and the meta data: ``affine`` (RAS+), native affine and shape, ``sha256``."""
        if len(img) != 1:
            raise refused("E-DIM-08", where=", ".join(map(str, img)), found=f"{len(img)} files")
        image = read_image(img[0], kind=self.kind, label_values=self.label_values)
        return image.data, _meta(image)


class LoadVerifiedd(MapTransform):
    """Load the files under ``keys``; check each by the modality that its key names.

    A mask with several labels becomes 0 and 1 by the entry's ``label_values`` (the data list's, ``load_entries``).

    Shapes: (1, H, W, D) for a volume, (T, H, W, D) for a series; MetaTensors.
    Raises: those of ``read_image``.

    >>> LoadVerifiedd(["flair", "label"])(case.entry())["label"].shape
    torch.Size([1, 29, 29, 20])
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        files, where = {str(key): str(out[key]) for key in self.key_iterator(out)}, str(out.get("case", ""))
        images = read_case_images(files, case=where, label_values=out.get(LABEL_VALUES))
        for key in self.key_iterator(out):
            image = images[str(key)]
            array = image.data if image.data.ndim == 4 else image.data[None]
            meta = _meta(image) | {str(MetaKeys.ORIGINAL_CHANNEL_DIM.value): 0, "filename_or_obj": str(image.path)}
            out[key] = MetaTensor(torch.from_numpy(array), meta=meta)
        return out


def _meta(image: Image) -> dict:
    channel_dim = 0 if image.data.ndim == 4 else "no_channel"
    return {
        MetaKeys.AFFINE.value: image.affine.copy(),
        MetaKeys.ORIGINAL_AFFINE.value: image.affine.copy(),
        MetaKeys.SPATIAL_SHAPE.value: np.array(image.grid_shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM.value: channel_dim,
        MetaKeys.SPACE.value: SpaceKeys.RAS.value,
        "native_affine": image.native_affine.copy(),
        "native_shape": np.array(image.native_shape),
        "sha256": image.sha256,
        "dt_s": 0.0 if image.dt_s is None else image.dt_s,
    }
