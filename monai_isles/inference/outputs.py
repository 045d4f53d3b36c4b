"""Name the channels that the inferer returns, and write them on the input's own grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.io.publish import planned_image, publish_together
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL, MODALITIES

SAID = {"pseudo_dwi": "synthetic pseudo-DWI, not an acquisition"}


class LesionMapsd(MapTransform):
    """Split an inferer's output into ``probability``, ``uncertainty`` (when there) and ``lesion``, yet to be binarised.

    Shapes: ``(2, H, W, D)`` class probabilities, then one channel a name of ``extras``, then the uncertainty if there
    is one, in; ``(1, H, W, D)`` each out.
    Args:
        extras: names of further maps, as the inferer's ``extras``.
    Source: ours; ``tests/inference/test_outputs.py``.
    """

    def __init__(self, keys: KeysCollection = "pred", extras: Sequence[str] = ()) -> None:
        super().__init__(keys)
        self.extras = tuple(extras)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            channels = out[key]
            out["probability"] = channels[1:2]
            out["lesion"] = channels[1:2].clone()
            out |= {name: channels[2 + n : 3 + n] for n, name in enumerate(self.extras)}
            if len(channels) > 2 + len(self.extras):
                out["uncertainty"] = channels[-1:]
        return out


class PublishMapsd(MapTransform):
    """Write the maps of one case on the grid of the file they came from: ``<folder>/<case>/<key>.nii.gz``, all or none.

    Shapes: each key ``(1, H, W, D)``. Masks go out as uint8, the others as float32; a synthetic image says so in its
    header's ``descrip``.
    Args:
        folder: where the case's own folder is made.
        masks: keys that hold masks.
        case_key: entry with the case's name.
    Raises:
        IslesError: what ``monai_isles.io.publish_image`` raises; then no map of the case is written.
    Source: ours; ``tests/inference/test_predict.py``.
    """

    def __init__(
        self,
        folder: str,
        keys: KeysCollection = ("lesion", "probability", "uncertainty"),
        case_key: str = "case",
        masks: Sequence[str] = ("lesion",),
    ) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.folder, self.case_key, self.masks = Path(folder), case_key, tuple(masks)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out, planned, sources = dict(data), [], {}
        for key in self.key_iterator(out):
            name = str(out[key].meta["filename_or_obj"])
            source = sources[name] = sources.get(name) or read_image(name)
            dtype = np.uint8 if key in self.masks else np.float32
            path = self.folder / str(out[self.case_key]) / f"{key}.nii.gz"
            values = out[key][0].cpu().numpy()
            planned.append(planned_image(path, values, source, dtype=dtype, description=SAID.get(str(key), "")))
        if planned:
            publish_together(planned, inputs=sources)
        return out


def require_own_names(postprocessing: object, entry: Mapping[Hashable, object], folder: Path) -> None:
    """Refuse results that would take the place of an image or mask of the case, before any work.

    Args:
        postprocessing: the bundle's; its ``PublishMapsd`` says which names are written.
        entry: flat dictionary of the case.
        folder: where the results of the case go.
    Raises:
        IslesError: ``E-USE-50``.
    Source: ours; case H9 of the reliability list, ``tests/inference/test_outputs.py``.
    """
    writers = [one for one in getattr(postprocessing, "transforms", ()) if isinstance(one, PublishMapsd)]
    wanted = {(folder / f"{key}.nii.gz").resolve() for one in writers for key in one.keys}
    inputs = [Path(str(value)) for key, value in entry.items() if key in (LABEL, *MODALITIES)]
    taken = [path for path in inputs if path.resolve() in wanted]
    if taken:
        raise IslesError(
            "E-USE-50",
            "output would overwrite an input",
            where=f"{entry['case']}: {taken[0]}",
            found=f"results of the case go into {folder}",
            fix="choose another output folder",
        )
