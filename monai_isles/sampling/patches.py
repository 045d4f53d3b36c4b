"""Batches of patches cut by index from cached volumes, without a transform chain per patch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.progress import progress
from monai_isles.sampling.centres import Centres, balanced_centres
from monai_isles.sampling.elastic import (
    OPERATIONS,
    axial_operations,
    deform,
    field_noise,
    operated,
    require_square,
    smoothed,
)
from monai_isles.sampling.loader import ahead, batches_of, require_enough


class PatchLoader:
    """Iterate over shuffled batches of the patch set of many cases.

    The set of centres is drawn once, as the paper builds its patch set once; every epoch visits each of them in a new
    order that depends on the seed and the epoch alone, so a resumed run sees what an uninterrupted one would have.
    Of each volume only the box that its patches reach is kept in memory.

    Shapes: batches are ``{"image": (B, C, *patch), "label": (B, 1, *patch), "case": (B,)}``, float32, channels last.
    Args:
        dataset: preprocessed cases with ``image`` (C, H, W, D), ``label`` and ``foreground`` (1, H, W, D) and ``case``.
        patch: two sizes for axial patches, three for volumes.
        per_case: patches a case.
        offset: move lesion centres at random by up to half a patch.
        rank, world_size: this process takes every ``world_size``-th patch of each batch; its batches then tell with
            ``total`` how many patches all processes have. Random draws do not depend on the division.
        in_step: give every process the same number of batches, the last perhaps an empty one; False leaves that out.
        prefetch, pin: batches made ahead in a thread, and whether in page-locked memory (``sampling.ahead``).
        elastic: ``alpha`` and ``sigma`` of the deformation of repeated patches (2D), None to leave them as they are.
        augment: ``"axial"`` reflects or turns repeated patches (``sampling.axial``), None leaves them as they are.
    Raises:
        IslesError: ``E-SAMP-03`` when a volume is smaller than the patch, ``E-SAMP-04`` for no cases at all,
            ``E-SAMP-20`` for an augmentation that the patch does not allow, ``E-SAMP-30`` for more processes than
            patches.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), sections 3.1 and 3.3; volumes and ``augment``:
    Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 3.3.
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
        augment: str | None = None,
        rank: int = 0,
        world_size: int = 1,
        in_step: bool = True,
        prefetch: int = 0,
        pin: bool = False,
    ) -> None:
        if not len(dataset):
            raise refused("E-SAMP-04", where="PatchLoader", found="0 cases")
        if augment is not None:
            require_square(augment, patch)
        self.flat, self.augment = len(patch) == 2, augment
        self.per_case, self.offset, self.rank, self.world_size = per_case, offset, rank, world_size
        self.in_step, self.prefetch, self.pin = in_step, prefetch, pin
        self.window = np.array([1, *patch] if self.flat else list(patch))
        self.batch_size, self.seed, self.shuffle, self.elastic, self.epoch = batch_size, seed, shuffle, elastic, 0
        self.names: list[str] = []
        self._images: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._corners: list[np.ndarray] = []
        added = [self._add(item) for item in progress(dataset, "patch centres", total=len(dataset))]
        tables = [table for table, _ in added]
        self.case = np.repeat(np.arange(len(tables)), [len(t.position) for t in tables])
        self.start = np.concatenate([start for _, start in added])
        self.repeated = np.concatenate([t.repeated for t in tables])
        self.on_lesion = np.concatenate([t.on_lesion for t in tables])
        drawn = np.random.default_rng([seed, 0])
        self.operation = axial_operations(self.repeated & (augment is not None), drawn)
        require_enough(len(self.case), world_size, "patches")

    def __repr__(self) -> str:
        cut = f"patch={self.window.tolist()}, per_case={self.per_case}, batch_size={self.batch_size}, seed={self.seed}"
        draw = f"shuffle={self.shuffle}, offset={self.offset}, elastic={self.elastic}, cases={self.names}"
        if self.augment is not None:
            draw = f"augment={self.augment}, {draw}"
        return f"PatchLoader({cut}, {draw})"

    def __len__(self) -> int:
        return batches_of(len(self.case), self.batch_size, 0 if self.in_step else self.rank)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration takes."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, object]]:
        return ahead(self._batches(), self.prefetch, pin=self.pin)

    def _batches(self) -> Iterator[dict[str, object]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.case)) if self.shuffle else np.arange(len(self.case))
        for first in range(0, len(self) * self.batch_size, self.batch_size):
            yield self._batch(order[first : first + self.batch_size], rng)

    def _add(self, item: Mapping[str, object]) -> tuple[Centres, np.ndarray]:
        """Keep the box that the patches of a case need; return their centres and where they start in the volume."""
        name = str(item["case"])
        image, label, foreground = (np.asarray(item[key]) for key in ("image", "label", "foreground"))
        lesion, brain = (self._store(volume)[..., 0].astype(np.uint8) for volume in (label, foreground > 0))
        self.names.append(name)
        if (np.array(lesion.shape) < self.window).any():
            raise refused(
                "E-SAMP-03", where=name, found=f"{lesion.shape} voxels against a patch of {tuple(self.window)}"
            )
        reach = tuple(int(v) // 2 if self.offset else 0 for v in self.window)
        rng = np.random.default_rng([self.seed, len(self.names)])
        table = balanced_centres(lesion, brain, count=self.per_case, max_offset_vox=reach, rng=rng, case=name)
        start = np.clip(table.position - self.window // 2, 0, np.array(lesion.shape) - self.window)
        low, high = start.min(axis=0), start.max(axis=0) + self.window
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        first, *inner = box
        self._corners.append(low)
        self._images.append(self._store(image[:, *inner, first] if self.flat else image[:, *box]))
        self._labels.append(np.ascontiguousarray(lesion[box]))
        return table, start

    def _store(self, volume: np.ndarray) -> np.ndarray:
        """Return (D, H, W, C) for axial patches, (H, W, D, C) for volumes: contiguous, channels last."""
        axes = (3, 1, 2, 0) if self.flat else (1, 2, 3, 0)
        return np.ascontiguousarray(volume.transpose(axes))

    def _batch(self, together: np.ndarray, rng: np.random.Generator) -> dict[str, object]:
        """Cut this process's part of the patches that all processes take together."""
        chosen = together[self.rank :: self.world_size]
        cut = self._cut(chosen)
        if self.elastic and (count := int(self.repeated[together].sum())):
            noise = field_noise((count, *self.window[1:]), rng)
            bent = self.repeated[together].cumsum()[self.rank :: self.world_size] - 1
            again = np.flatnonzero(self.repeated[chosen])
            if len(again):
                field = smoothed(noise[bent[again]], **self.elastic)
                cut["image"][again], cut["label"][again] = deform(cut["image"][again], cut["label"][again], field)
        if self.augment is not None:
            operation = self.operation[chosen]
            for kind in range(1, len(OPERATIONS)):
                rows = np.flatnonzero(operation == kind)
                for key in cut if len(rows) else ():
                    cut[key][rows] = operated(cut[key][rows], kind)
        alone = {} if self.world_size == 1 else {"total": len(together)}
        return {**cut, "case": torch.from_numpy(self.case[chosen]), **alone}

    def _cut(self, chosen: np.ndarray) -> dict[str, Tensor]:
        image = np.empty((len(chosen), *self.window, self._images[0].shape[-1]), np.float32)
        label = np.empty((len(chosen), *self.window, 1), np.float32)
        cases = self.case[chosen]
        i, j, k = self.window.tolist()
        starts = (self.start[chosen] - np.array(self._corners)[cases]).tolist()
        for row, (case, (a, b, c)) in enumerate(zip(cases.tolist(), starts, strict=True)):
            image[row] = self._images[case][a : a + i, b : b + j, c : c + k]
            label[row, ..., 0] = self._labels[case][a : a + i, b : b + j, c : c + k]
        return {"image": _channels_first(image, self.flat), "label": _channels_first(label, self.flat)}


def _channels_first(batch: np.ndarray, flat: bool) -> Tensor:
    tensor = torch.from_numpy(batch).movedim(-1, 1)
    return tensor[:, :, 0] if flat else tensor
