"""The thin coat that lets a MONAI chain refuse images on different grids."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.io.grid import require_same_affines


class SameGridd(MapTransform):
    """Pass a case on unchanged when all its images lie on one grid; refuse it otherwise.

    Shapes: every entry ``(C, H, W, D)`` with an affine. Units: affines in mm.

    Args:
        keys: entries that must share one grid.

    Raises:
        IslesError: ``E-GEOM-03`` and ``E-GEOM-04`` from ``monai_isles.io``; ``E-GRID-01`` for an image without affine.

    Source: ours; ``tests/transforms/test_grid.py``.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, case = dict(data), str(data.get("case", "this entry"))
        images = {str(key): out[key] for key in self.key_iterator(out)}
        bare = [key for key, image in images.items() if not isinstance(image, MetaTensor)]
        if bare:
            raise IslesError(
                "E-GRID-01",
                "an image has lost its place in space",
                where=f"{case}: {', '.join(bare)}",
                found="a tensor without affine",
                fix="keep track_meta on until SameGridd has passed",
            )
        require_same_affines(
            {key: np.asarray(image.affine, float) for key, image in images.items()},
            {key: tuple(image.shape[1:]) for key, image in images.items()},
            case=case,
            files={key: str(image.meta.get("filename_or_obj", key)) for key, image in images.items()},
        )
        return out
