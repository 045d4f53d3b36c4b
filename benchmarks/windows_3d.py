"""Volumes at step 4 x 4 x 1 against one window a call over all windows of the grid, one network.

On the grids of ISLES 2015 (SISS 230 x 230 x 153, SPES 96 x 110 x 71) and a simulated brain. Ours runs only the windows
that touch the brain, which gives every brain voxel the same average, sixteen a pass, folded. Both are timed on a share
of their windows; the seconds of the volume follow from the counts. The network is untrained: no time depends on its
weights. Checked in the same run: the difference to the loop over all windows on a corner of a brain.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence

import bench
import numpy as np
import torch
from torch import nn

from monai_isles.inference import StepSlidingWindowInferer
from monai_isles.inference.windows_plan import window_starts
from monai_isles.networks import AsymmetricResUNet

SUBJECT = "windows_3d"
GRIDS = {"siss": ((230, 230, 153), 1.0, 8), "spes": ((96, 110, 71), 2.0, 14)}
ROI, BORDER = (24, 24, 16), (12, 12, 8)
STEPS = {"paper": (4, 4, 1), "fast": (12, 12, 8)}
BATCH = 16


def brain(shape: tuple[int, ...], spacing_mm: float) -> np.ndarray:
    """Return the brain of the phantom's atlas on a padded grid of this size."""
    from scipy import ndimage

    from monai_isles.phantom.atlas import ORIGIN_MM, load_atlas

    axes = [(np.arange(n) - (n - 1) / 2) * spacing_mm + c for n, c in zip(shape, (0, -18, 10), strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij")) - ORIGIN_MM.reshape(3, 1, 1, 1)
    inside = ndimage.map_coordinates(load_atlas().depth, places / 2, order=1, mode="nearest") > 0
    return np.pad(inside, [(b, b) for b in BORDER])


def one_by_one(network: nn.Module, image: torch.Tensor, windows: int) -> Callable[[], None]:
    """Return a call that runs so many windows of a volume one after the other, in torch's own memory order."""
    starts = np.stack([np.arange(windows) % (n - r + 1) for n, r in zip(image.shape[1:], ROI, strict=True)], 1)

    def run() -> None:
        with torch.inference_mode():
            for a, b, c in starts:
                network(image[None, :, a : a + ROI[0], b : b + ROI[1], c : c + ROI[2]].contiguous()).softmax(1)

    return run


def ours(network: nn.Module, image: torch.Tensor, step: Sequence[int], **mode: object) -> Callable[[], torch.Tensor]:
    """Return a call that predicts every window of a volume."""
    inferer = StepSlidingWindowInferer(ROI, step, batch_size=BATCH, cover="touch", **mode)
    return lambda: inferer.infer(image[None], network).probability


def largest_difference(network: torch.nn.Module, channels: int) -> float:
    """Return how far the inferer lies from a loop over all windows of a 32 x 32 x 20 corner, one a call."""
    shape = (32, 32, 20)
    image, mask = torch.randn(1, channels, *shape), torch.zeros(1, 1, *shape)
    mask[..., 14:18, 14:18, 9:11] = 1
    ours = StepSlidingWindowInferer(ROI, STEPS["paper"], batch_size=BATCH, cover="touch")(image, network, mask)
    total, count = torch.zeros(2, *shape), torch.zeros(shape)
    with torch.inference_mode():
        for a, b, c in window_starts(np.ones(shape, bool), ROI, STEPS["paper"], "touch"):
            place = (slice(a, a + ROI[0]), slice(b, b + ROI[1]), slice(c, c + ROI[2]))
            total[(slice(None), *place)] += network(image[(slice(None), slice(None), *place)]).softmax(1)[0]
            count[place] += 1
    inside = mask[0, 0] > 0
    return float((ours[0] - total / count)[:, inside].abs().max())


def held_volume(network: torch.nn.Module, image: torch.Tensor) -> None:
    """Run the inferer on the whole volume for a spot of brain, so that the peak memory holds its image and its sums."""
    spot = torch.zeros(1, 1, *image.shape[1:])
    spot[..., image.shape[1] // 2, image.shape[2] // 2, image.shape[3] // 2] = 1
    StepSlidingWindowInferer(ROI, STEPS["fast"], batch_size=BATCH, cover="touch")(image[None], network, spot)


def rows(kind: str, args: object) -> list[bool]:
    """Report the rows of one task."""
    shape, spacing_mm, channels = GRIDS[kind]
    mask = brain(shape, spacing_mm)
    torch.manual_seed(0)
    base = 8 if args.quick else 32
    network = AsymmetricResUNet(3, channels, base_channels=base, levels=4).eval()
    kinds = {"all": (np.ones_like(mask), "touch"), "touch": (mask, "touch"), "centre": (mask, "centre")}
    counts = {
        name: {which: len(window_starts(held, ROI, step, cover)) for which, (held, cover) in kinds.items()}
        for name, step in STEPS.items()
    }
    part = torch.randn(channels, *[r + s * n for r, s, n in zip(ROI, STEPS["paper"], (1, 1, 15), strict=True)])
    windows = len(window_starts(np.ones(part.shape[1:], bool), ROI, STEPS["paper"], "touch"))
    naive = 2 if args.quick else 8
    calls = {
        "one a call": one_by_one(network, part, naive),
        "ours": ours(network, part, STEPS["paper"]),
        "ours bf16": ours(network, part, STEPS["paper"], precision="bf16"),
    }
    shares = dict.fromkeys(calls, windows / counts["paper"]["touch"]) | {"one a call": naive / counts["paper"]["all"]}
    times = bench.alternate(calls, args.rounds, shares=shares)
    exact = calls["ours"]()
    with torch.inference_mode():
        flop = bench.flops(lambda: network(part[None, :, :24, :24, :16])) * counts["paper"]["touch"]
    held_volume(network, torch.randn(channels, *mask.shape))
    facts = {
        "windows": counts, "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "hours": {n: round(times.medians["ours"] / 3600 * c["touch"] / counts["paper"]["touch"], 4)
                  for n, c in counts.items()},
    }  # fmt: skip
    half = bench.largest_difference(exact, times.answers["ours bf16"])
    return [
        bench.report(SUBJECT, f"{kind}, step 4 x 4 x 1, fp32", times, args, reference="one a call", ours="ours",
                     difference=largest_difference(network, channels), tolerance=1e-5, wanted=10.0, flop=flop, **facts),
        bench.report(SUBJECT, f"{kind}, step 4 x 4 x 1, bf16", times, args, reference="one a call", ours="ours bf16",
                     difference=half, tolerance=0.05, flop=flop, **facts),
    ]  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Report both tasks."""
    parser = bench.arguments(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=sorted(GRIDS), default=["spes", "siss"])
    args = bench.begin(parser, words)
    return bench.outcome(*(ok for kind in args.tasks for ok in rows(kind, args)))


if __name__ == "__main__":
    raise SystemExit(main())
