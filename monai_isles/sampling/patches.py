"""Iterate over batches of patches: half centred on the lesion, half on healthy brain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.sampling.cases import collect_cases
from monai_isles.sampling.elastic import (
    OPERATIONS,
    add_noise,
    apply_operation,
    axial_operations,
    deform,
    displacement,
    rescale,
    rotation_field,
)
from monai_isles.sampling.loader import Batch, CaseLoader

_VARIED = ("rotate_deg", "scale", "gain", "shift", "noise")


@dataclass(frozen=True)
class Centres:
    """Hold the patch centres of one case.

    Shapes: ``position`` (n, 3) voxel indices; ``on_lesion`` and ``repeated`` (n,) flags. ``repeated`` marks a
    further patch of a voxel that had one already: those are the ones to deform.
    """

    position: np.ndarray
    on_lesion: np.ndarray
    repeated: np.ndarray


def balanced_centres(
    lesion: np.ndarray,
    foreground: np.ndarray,
    *,
    count: int,
    max_offset_vox: Sequence[int],
    rng: np.random.Generator,
    case: str,
    fresh: bool = False,
) -> Centres:
    """Choose ``count`` centres, half on lesion voxels and half on healthy foreground.

    Each half takes its voxels at regular steps, so that every part of the volume is represented. Lesion centres move by
    a uniform random offset that keeps the chosen voxel inside the patch. Voxels are reused only when a half has more
    patches than voxels. A case without lesion gives healthy patches only.

    Shapes: ``lesion`` and ``foreground`` (H, W, D) masks.
    Args:
        max_offset_vox: half of the patch on every axis, 0 where no offset is wanted.
        fresh: begin the steps at a random voxel instead of the first, so that another draw gives other centres.
    Raises: ``E-SAMP-01`` when there is no foreground at all, ``E-SAMP-02`` for a count below 2.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.1.

    >>> lesion = np.zeros((8, 8, 1), bool)
    >>> lesion[4, 4] = True
    >>> draw = np.random.default_rng(0)
    >>> chosen = balanced_centres(lesion, lesion | True, count=6, max_offset_vox=(2, 2, 0), rng=draw, case="case_1")
    >>> chosen.on_lesion.tolist()
    [True, True, True, False, False, False]
    """
    if count < 2:
        raise refused("E-SAMP-02", where=case, found=f"{count} patches")
    sick, healthy = np.argwhere(lesion > 0), np.argwhere((foreground > 0) & ~(lesion > 0))
    if not len(sick) + len(healthy):
        raise refused("E-SAMP-01", where=case, found="an empty foreground mask")
    # Half and half: lesions are a few per cent of the brain, and a random draw would hardly show them.
    share = (count // 2 if len(healthy) else count) if len(sick) else 0
    begin = rng.random(2) if fresh else np.zeros(2)
    on_sick, again_sick = _regular(len(sick), share, begin[0])
    on_healthy, again_healthy = _regular(len(healthy), count - share, begin[1])
    reach = np.asarray(max_offset_vox)
    # At most half a patch, so the chosen lesion voxel stays in view.
    offset = rng.integers(np.minimum(1 - reach, 0), reach + 1, size=(share, 3))
    return Centres(
        position=np.concatenate([sick[on_sick] + offset, healthy[on_healthy]]),
        on_lesion=np.arange(count) < share,
        repeated=np.concatenate([again_sick, again_healthy]),
    )


def _regular(available: int, wanted: int, begin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``wanted`` indices at regular steps below ``available``, and which of them are repeats."""
    first, turn = int(begin * available), np.arange(wanted)
    if wanted <= available:
        # Regular steps cover every slice and part; random ones would leave gaps and make clusters.
        return ((turn * available) // max(wanted, 1) + first) % max(available, 1), np.zeros(wanted, bool)
    # Fewer voxels than patches: go round again, and mark the repeats for deformation.
    return (turn + first) % available, turn >= available


@dataclass
class _Case:
    """Hold a case for the loader: ``image`` and masks cut to a box that begins at ``corner`` of ``space``."""

    name: str
    space: np.ndarray
    corner: np.ndarray
    image: np.ndarray
    lesion: np.ndarray
    brain: np.ndarray
    table: Centres = field(init=False)


class PatchLoader(CaseLoader):
    """Iterate over shuffled batches of the patch set of many cases.

    The centres are drawn once, as the paper builds its patch set once; every epoch visits them in a new order
    (``CaseLoader``). Only the box of each volume that its patches reach is kept in memory.

    Shapes: batches are ``{"image": (B, C, *patch), "label": (B, 1, *patch), "case": (B,)}``, float32, channels last.
    Args:
        dataset: preprocessed cases with ``image`` (C, H, W, D), ``label`` and ``foreground`` (1, H, W, D) and ``case``.
        patch: two sizes for axial patches, three for volumes.
        offset: move lesion centres at random by up to half a patch.
        centres: ``"fixed"``, or ``"fresh"`` to draw other centres for every epoch.
        flip: probability that a whole batch is reflected left-right.
        elastic: ``alpha`` and ``sigma`` of the deformation of repeated patches, None to leave them as they are.
        vary: largest random rotation and scaling of every patch in plane (``rotate_deg``, ``scale``), rescaling of each
            channel (``gain``, ``shift``) and noise inside the brain (``noise``, ``add_noise``); None for no change.
        augment: ``"axial"`` reflects or turns patches (``OPERATIONS``), None leaves them as they are.
        augmented: the patches concerned: ``"repeated"`` ones, or all centred on the ``"lesion"``.
        batch_size, seed, shuffle, rank, world_size, prefetch, pin: see ``CaseLoader``.
    Raises: ``E-SAMP-04`` without cases, ``E-SAMP-21`` for an impossible augmentation, ``E-SAMP-03`` when volumes are
    smaller than the patch, and others.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), sections 3.1 and 3.3; volumes and ``augment``:
    Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 3.3. ``fresh``, ``flip`` and ``vary`` are ours.

    >>> lesion, brain = np.zeros((1, 16, 16, 2)), np.ones((1, 16, 16, 2))
    >>> lesion[0, 8, 8] = 1
    >>> case = {"case": "case_01", "image": np.zeros((5, 16, 16, 2)), "label": lesion, "foreground": brain}
    >>> batch = next(iter(PatchLoader([case], patch=(8, 8), per_case=6, batch_size=4)))
    >>> tuple(batch["image"].shape), tuple(batch["label"].shape)
    ((4, 5, 8, 8), (4, 1, 8, 8))
    """

    items = "patches"

    def __init__(
        self,
        dataset: Sequence[Mapping[str, Any]],
        *,
        patch: Sequence[int],
        per_case: int = 4000,
        batch_size: int = 64,
        seed: int = 0,
        offset: bool = True,
        centres: str = "fixed",
        flip: float = 0.0,
        elastic: Mapping[str, float] | None = None,
        vary: Mapping[str, float] | None = None,
        augment: str | None = None,
        augmented: str = "repeated",
        **division: Any,
    ) -> None:
        if not len(dataset):
            raise refused("E-SAMP-04", where="PatchLoader", found="0 cases")
        _require_known(centres, flip, augment, augmented, patch, vary or {})
        self.flat, self.augment, self.augmented, self.elastic = len(patch) == 2, augment, augmented, elastic
        self.per_case, self.offset, self.centres, self.flip, self.seed = per_case, offset, centres, flip, seed
        self.vary = dict(vary or {})
        self.window = np.array([1, *patch] if self.flat else list(patch))
        self.reach = self.window // 2 if self.offset else np.zeros(3, int)
        self._cases, self.left_out = collect_cases(dataset, self._crop_case, title="patch centres")
        names = [case.name for case in self._cases]
        self._collect([case.table for case in self._cases], 0)
        case = np.repeat(np.arange(len(names)), per_case)
        super().__init__(names, case, batch_size=batch_size, seed=seed, **division)
        self._tell_few_lesions([bool(item.lesion.any()) for item in self._cases])

    def __repr__(self) -> str:
        cut = f"patch={self.window.tolist()}, per_case={self.per_case}, batch_size={self.batch_size}, seed={self.seed}"
        draw = f"shuffle={self.shuffle}, offset={self.offset}, elastic={self.elastic}, cases={self.names}"
        # An option that is off is not named: checkpoints written before it existed can be resumed.
        turned = f"augment={self.augment} of {self.augmented}, " if self.augment is not None else ""
        moved = f"centres={self.centres}, flip={self.flip}, " if self.centres != "fixed" or self.flip else ""
        varied = f"vary={self.vary}, " if self.vary else ""
        return f"PatchLoader({cut}, {varied}{moved}{turned}{draw})"

    def _batches(self) -> Iterator[Batch]:
        if self.centres == "fresh":
            rng = np.random.default_rng([self.seed, 1 + self.epoch, len(self._cases)])
            self._collect([self._table(case, rng, fresh=True) for case in self._cases], 1 + self.epoch)
        yield from super()._batches()

    def _collect(self, tables: Sequence[Centres], draw: int) -> None:
        """Put the centres of all cases into one table; ``start`` is where each patch begins in its case's volume."""
        starts = [table.position - self.window // 2 for table in tables]
        whole = zip(self._cases, starts, strict=True)
        self.start = np.concatenate([np.clip(at, 0, case.space - self.window) for case, at in whole])
        self.repeated = np.concatenate([table.repeated for table in tables])
        self.on_lesion = np.concatenate([table.on_lesion for table in tables])
        turned = self.repeated if self.augmented == "repeated" else self.on_lesion
        rng = np.random.default_rng([self.seed, draw])
        self.operation = axial_operations(turned & (self.augment is not None), rng)

    def _crop_case(self, item: Mapping[str, Any], number: int) -> _Case:
        """Return the part of a case that its patches need: the box that they reach, and their centres."""
        image, label, foreground = (np.asarray(item[key]) for key in ("image", "label", "foreground"))
        lesion, brain = (self._channels_last(volume)[..., 0].astype(np.uint8) for volume in (label, foreground > 0))
        name, space = str(item["case"]), np.array(lesion.shape)
        if (space < self.window).any():
            result = f"{lesion.shape} voxels against a patch of {tuple(self.window.tolist())}"
            raise refused("E-SAMP-03", where=name, found=result)
        case = _Case(name, space, np.zeros(3, int), image, lesion, brain)
        rng = np.random.default_rng([self.seed, number])
        table = case.table = self._table(case, rng)
        centres = table.position
        if self.centres == "fresh":  # all that another draw may reach
            sick, healthy = np.argwhere(lesion), np.argwhere(brain & ~lesion)
            # Opposite corners are enough: the box of all possible patches follows. Only lesion centres are moved.
            moved, still = (sick, self.reach), (healthy, 0)
            ends = [(at.min(0) - reach, at.max(0) + reach) for at, reach in (moved, still) if len(at)]
            centres = np.concatenate(ends)
        start = np.clip(centres - self.window // 2, 0, space - self.window)
        case.corner, high = start.min(axis=0), start.max(axis=0) + self.window
        box = tuple(slice(a, b) for a, b in zip(case.corner, high, strict=True))
        first, *inner = box
        case.image = self._channels_last(image[:, *inner, first] if self.flat else image[:, *box])
        case.lesion, case.brain = (np.ascontiguousarray(mask[box]) for mask in (lesion, brain))
        return case

    def _table(self, case: _Case, rng: np.random.Generator, *, fresh: bool = False) -> Centres:
        """Draw the centres of a case, in voxels of its volume."""
        options: dict[str, Any] = {"count": self.per_case, "max_offset_vox": self.reach.tolist(), "fresh": fresh}
        table = balanced_centres(case.lesion, case.brain, rng=rng, case=case.name, **options)
        return replace(table, position=table.position + case.corner)

    def _channels_last(self, volume: np.ndarray) -> np.ndarray:
        """Return (D, H, W, C) for axial patches, (H, W, D, C) for volumes: contiguous, channels last."""
        axes = (3, 1, 2, 0) if self.flat else (1, 2, 3, 0)
        return np.ascontiguousarray(volume.transpose(axes))

    def _batch(self, chosen: np.ndarray, rng: np.random.Generator) -> Batch:
        cut = {"image": self._cut(chosen, "image"), "label": self._cut(chosen, "lesion")}
        if noise := self.vary.get("noise", 0.0):
            cut["image"] = add_noise(cut["image"], self._cut(chosen, "brain"), noise=noise, rng=rng)
        rows, field = self._field(chosen, rng)
        if len(rows):
            cut["image"][rows], cut["label"][rows] = deform(cut["image"][rows], cut["label"][rows], field)
        if self.vary:
            given = {name: self.vary.get(name, 0.0) for name in ("gain", "shift")}
            cut["image"] = rescale(cut["image"], **given, rng=rng)
        for kind in range(1, len(OPERATIONS) if self.augment is not None else 1):
            rows = np.flatnonzero(self.operation[chosen] == kind)
            for key in cut if len(rows) else ():
                cut[key][rows] = apply_operation(cut[key][rows], kind)
        if self.flip and rng.random() < self.flip:
            memory = torch.channels_last if self.flat else torch.channels_last_3d
            cut = {key: value.flip(2).contiguous(memory_format=memory) for key, value in cut.items()}
        return cut

    def _field(self, chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return which patches are deformed, and their fields: repeated ones elastically, with ``vary`` all of them."""
        spatial = (self.window[1:] if self.flat else self.window).tolist()
        again = np.flatnonzero(self.repeated[chosen]) if self.elastic else np.zeros(0, np.int64)
        bent = displacement((len(again), *spatial), **self.elastic, rng=rng) if self.elastic and len(again) else None
        if not self.vary:
            return again, np.zeros(0) if bent is None else bent
        given = {name: self.vary.get(name, 0.0) for name in ("rotate_deg", "scale")}
        field = rotation_field((len(chosen), *spatial), **given, rng=rng)
        if bent is not None:
            # Small fields add up: the patch is interpolated once instead of twice.
            field[again] += bent
        return np.arange(len(chosen)), field

    def _cut(self, chosen: np.ndarray, name: str) -> Tensor:
        """Cut the chosen patches from a volume of each case, the ``image`` or a mask."""
        cases, (i, j, k) = [self._cases[number] for number in self.case[chosen].tolist()], self.window.tolist()
        starts = (self.start[chosen] - np.array([case.corner for case in cases])).tolist()
        places = zip(cases, starts, strict=True)
        parts = [getattr(case, name)[a : a + i, b : b + j, c : c + k] for case, (a, b, c) in places]
        batch = np.stack(parts, dtype=np.float32).reshape(len(chosen), *self.window, -1)  # channels last
        tensor = torch.from_numpy(batch).movedim(-1, 1)
        return tensor[:, :, 0] if self.flat else tensor


def _require_known(
    centres: str, flip: float, augment: str | None, augmented: str, patch: Sequence[int], vary: Mapping[str, float]
) -> None:
    if augment is not None and (augment != "axial" or patch[0] != patch[1]):
        raise refused("E-SAMP-20", where="PatchLoader", found=f"augment {augment!r} with a patch of {list(patch)}")
    if centres not in ("fixed", "fresh") or augmented not in ("repeated", "lesion") or not 0 <= flip <= 1:
        result = f"centres {centres!r}, augmented {augmented!r}, flip {flip}"
        raise refused("E-SAMP-21", where="PatchLoader", found=result)
    wrong = [f"vary {name} {value}" for name, value in vary.items() if name not in _VARIED or not value >= 0]
    if wrong:
        raise refused("E-SAMP-21", where="PatchLoader", found=", ".join(wrong))
