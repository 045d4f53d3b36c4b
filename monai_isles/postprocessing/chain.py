"""The binarising step as a MONAI dictionary transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.perfusion.thresholds import cluster_vox
from monai_isles.postprocessing.components import binarise, require_settings


class Binarised(MapTransform):
    """Turn lesion probabilities into lesion masks inside a MONAI chain.

    Shapes: ``(1, H, W, D)`` in and out, ``uint8`` 0/1 out; affine and metadata unchanged.
    Units: ``threshold`` 0..1, ``min_size_vox`` voxels, ``min_cluster_ml`` ml.

    Args:
        keys: entries holding one lesion probability channel.
        threshold: strict lower bound.
        min_size_vox: smallest component kept; None leaves it to ``min_cluster_ml`` and the image's voxel size.
        min_cluster_ml: smallest component kept where ``min_size_vox`` is None; 1 mm voxels without an affine.

    Raises:
        IslesError: ``E-POST-01`` to ``E-POST-03`` as ``binarise``, ``E-POST-04`` more than one channel.

    Source: ``binarise``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float,
        min_size_vox: int | None,
        allow_missing_keys: bool = False,
        min_cluster_ml: float = 0.0,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        require_settings([threshold], [] if min_size_vox is None else [min_size_vox])
        self.threshold, self.min_size_vox, self.min_cluster_ml = threshold, min_size_vox, min_cluster_ml

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self._mask(out[key], name=str(key))
        return out

    def _mask(self, probability: Tensor, *, name: str) -> Tensor:
        if probability.shape[0] != 1:
            raise IslesError(
                "E-POST-04",
                "one lesion channel wanted",
                where=f"key {name}",
                found=f"shape {tuple(probability.shape)}",
                fix="keep the lesion channel of the softmax only",
            )
        volume = np.asarray(torch.as_tensor(probability).detach().cpu().float())[0]
        mask = binarise(volume, self.threshold, self._smallest(probability))[None]
        return convert_to_dst_type(mask.astype(np.uint8), dst=probability, dtype=torch.uint8)[0]

    def _smallest(self, image: Tensor) -> int:
        if self.min_size_vox is not None:
            return self.min_size_vox
        spacing_mm = image.pixdim.tolist() if isinstance(image, MetaTensor) else (1.0, 1.0, 1.0)
        return cluster_vox(self.min_cluster_ml, spacing_mm)
