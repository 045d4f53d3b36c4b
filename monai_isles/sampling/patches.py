"""Batches of patches cut by index from cached volumes, without a transform chain per patch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.progress import progress
from monai_isles.sampling.centres import Centres, balanced_centres
from monai_isles.sampling.elastic import deform, displacement


class PatchLoader:
    """Iterate over shuffled batches of the patch set of many cases.

    The set of centres is drawn once, as the paper builds its patch set once; every epoch visits each of them in a new
    order that depends on the seed and the epoch alone, so a resumed run sees what an uninterrupted one would have.

    Shapes: batches are ``{"image": (B, C, *patch), "label": (B, 1, *patch), "case": (B,)}``, float32, channels last.
    Args:
        dataset: preprocessed cases with ``image`` (C, H, W, D), ``label`` and ``foreground`` (1, H, W, D) and ``case``.
        patch: two sizes for axial patches, three for volumes.
        per_case: patches a case.
        offset: move lesion centres at random by up to half a patch.
        rank, world_size: this process takes every ``world_size``-th patch of each batch.
        elastic: ``alpha`` and ``sigma`` of the deformation of repeated patches (2D), None to leave them as they are.
    Raises:
        IslesError: ``E-SAMP-03`` when a volume is smaller than the patch, ``E-SAMP-04`` for no cases at all.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), sections 3.1 and 3.3.
    """

    def __init__(
        self,
        dataset: Sequence[Mapping[str, object]],
        *,
        patch: Sequence[int],
        per_case: int = 4000,
        batch_size: int = 64,
        seed: int = 0,
        shuffle: bool = True,
        offset: bool = True,
        elastic: Mapping[str, float] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not len(dataset):
            raise IslesError(
                "E-SAMP-04",
                "nothing to cut patches from",
                where="PatchLoader",
                found="0 cases",
                fix="check the data list: every fold may have been left out",
            )
        self.flat = len(patch) == 2
        self.per_case, self.offset, self.rank, self.world_size = per_case, offset, rank, world_size
        self.window = np.array([1, *patch] if self.flat else list(patch))
        self.batch_size, self.seed, self.shuffle, self.elastic, self.epoch = batch_size, seed, shuffle, elastic, 0
        self.names: list[str] = []
        self._images: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        tables = [self._add(item, per_case, offset) for item in progress(dataset, "patch centres", total=len(dataset))]
        self.case = np.repeat(np.arange(len(tables)), [len(t.position) for t in tables])
        self.start = np.concatenate([self._starts(t, i) for i, t in enumerate(tables)])
        self.repeated = np.concatenate([t.repeated for t in tables])
        self.on_lesion = np.concatenate([t.on_lesion for t in tables])

    def __repr__(self) -> str:
        cut = f"patch={self.window.tolist()}, per_case={self.per_case}, batch_size={self.batch_size}, seed={self.seed}"
        draw = f"shuffle={self.shuffle}, offset={self.offset}, elastic={self.elastic}, cases={self.names}"
        return f"PatchLoader({cut}, {draw})"

    def __len__(self) -> int:
        return -(-len(self.case) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration takes."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, object]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.case)) if self.shuffle else np.arange(len(self.case))
        for first in range(0, len(order), self.batch_size):
            yield self._batch(order[first : first + self.batch_size][self.rank :: self.world_size], rng)

    def _add(self, item: Mapping[str, object], per_case: int, offset: bool) -> Centres:
        name = str(item["case"])
        image, label, foreground = (np.asarray(item[key]) for key in ("image", "label", "foreground"))
        self._images.append(self._store(image))
        self._labels.append(self._store(label)[..., 0].astype(np.uint8))
        self.names.append(name)
        lesion, brain = self._labels[-1], self._store(foreground)[..., 0]
        if (np.array(lesion.shape) < self.window).any():
            raise IslesError(
                "E-SAMP-03",
                "volume smaller than the patch",
                where=name,
                found=f"{lesion.shape} voxels against a patch of {tuple(self.window)}",
                fix="pad by half a patch first (BorderPadd), or take a smaller patch",
            )
        reach = tuple(int(v) // 2 if offset else 0 for v in self.window)
        rng = np.random.default_rng([self.seed, len(self.names)])
        return balanced_centres(lesion, brain, count=per_case, max_offset_vox=reach, rng=rng, case=name)

    def _store(self, volume: np.ndarray) -> np.ndarray:
        """Return (D, H, W, C) for axial patches, (H, W, D, C) for volumes: contiguous, channels last."""
        axes = (3, 1, 2, 0) if self.flat else (1, 2, 3, 0)
        return np.ascontiguousarray(volume.transpose(axes))

    def _starts(self, table: Centres, index: int) -> np.ndarray:
        last = np.array(self._labels[index].shape) - self.window
        return np.clip(table.position - self.window // 2, 0, last)

    def _batch(self, chosen: np.ndarray, rng: np.random.Generator) -> dict[str, object]:
        image = np.empty((len(chosen), *self.window, self._images[0].shape[-1]), np.float32)
        label = np.empty((len(chosen), *self.window, 1), np.float32)
        for row, patch in enumerate(chosen):
            (a, b, c), (i, j, k), case = self.start[patch], self.window, self.case[patch]
            image[row] = self._images[case][a : a + i, b : b + j, c : c + k]
            label[row, ..., 0] = self._labels[case][a : a + i, b : b + j, c : c + k]
        cut = {"image": _channels_first(image, self.flat), "label": _channels_first(label, self.flat)}
        again = np.flatnonzero(self.repeated[chosen])
        if self.elastic and len(again):
            field = displacement((len(again), *self.window[1:]), rng=rng, **self.elastic)
            cut["image"][again], cut["label"][again] = deform(cut["image"][again], cut["label"][again], field)
        return {**cut, "case": torch.from_numpy(self.case[chosen])}


def _channels_first(batch: np.ndarray, flat: bool) -> Tensor:
    tensor = torch.from_numpy(batch).movedim(-1, 1)
    return tensor[:, :, 0] if flat else tensor
