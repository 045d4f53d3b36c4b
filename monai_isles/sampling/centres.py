"""Where to cut the patches of one case: half on the lesion, half on healthy brain, at regular steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.errors import refused


@dataclass(frozen=True)
class Centres:
    """Patch centres of one case.

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
    max_offset_vox: tuple[int, int, int],
    rng: np.random.Generator,
    case: str,
    fresh: bool = False,
) -> Centres:
    """Choose ``count`` centres, half on lesion voxels and half on healthy foreground.

    Each half takes its voxels at regular steps, so that every part of the volume is there. Lesion centres move by a
    uniform random offset that keeps the chosen voxel inside the patch. Voxels are used again only when a half has
    more patches than voxels; a case without lesion gives healthy patches alone.

    Shapes: ``lesion`` and ``foreground`` (H, W, D) masks.
    Args:
        max_offset_vox: half of the patch on every axis, 0 where no offset is wanted.
        fresh: begin the steps at a random voxel instead of the first, so that another draw gives other centres.
    Raises:
        IslesError: ``E-SAMP-01`` when there is no foreground at all, ``E-SAMP-02`` for a count below 2.
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
    """Return ``wanted`` indices at regular steps below ``available``, and which of them come round again.

    Args:
        begin: the first of them, as a share of all.
    """
    first, turn = int(begin * available), np.arange(wanted)
    if wanted <= available:
        # Regular steps cover every slice and part; random ones would leave gaps and make clusters.
        return ((turn * available) // max(wanted, 1) + first) % max(available, 1), np.zeros(wanted, bool)
    # Fewer voxels than patches: go round again, and mark the repeats for deformation.
    return (turn + first) % available, turn >= available
