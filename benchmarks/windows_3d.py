"""Windows, work, time and memory of a full MRI volume at step 4 x 4 x 1, from a stated share of its windows.

For the grids of ISLES 2015 (SISS 230 x 230 x 153, SPES 96 x 110 x 71) and a simulated brain, prints one JSON line each:
windows of the whole grid, touching the brain and centred in it; FLOPs; milliseconds a window; the time of the whole
volume, extrapolated; peak memory; the ratio to one window a call over all windows (timed on a smaller share); and the
largest difference to that loop on a corner of the brain. The network is untrained: its time does not depend on weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_isles.inference import StepSlidingWindowInferer, count_windows, window_starts
from monai_isles.networks import AsymmetricResUNet

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


def batches(image: torch.Tensor, starts: np.ndarray, size: int) -> list[torch.Tensor]:
    """Return the windows at ``starts`` in batches, as the inferer cuts them."""
    cut = [image[:, a : a + ROI[0], b : b + ROI[1], c : c + ROI[2]] for a, b, c in starts]
    groups = [torch.stack(cut[i : i + size]) for i in range(0, len(cut), size)]
    return [g.contiguous(memory_format=torch.channels_last_3d) if size > 1 else g for g in groups]


def ms_a_window(network: torch.nn.Module, groups: list[torch.Tensor], *, half: bool = False) -> float:
    """Return the median time a window of these batches, the first left out as a warm-up.

    It is processor time over the threads: what an idle machine takes, also where others are at work.
    """
    times = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        for group in groups:
            begun = time.process_time()
            network(group).float().softmax(1)
            times.append((time.process_time() - begun) / torch.get_num_threads() / len(group) * 1000)
    return statistics.median(times[1:])


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


def measure(kind: str, windows: int, naive: int) -> dict[str, object]:
    """Return the numbers of one task."""
    shape, spacing_mm, channels = GRIDS[kind]
    mask = brain(shape, spacing_mm)
    torch.manual_seed(0)
    network, image = (
        AsymmetricResUNet(3, channels, base_channels=32, levels=4).eval(),
        torch.randn(channels, *mask.shape),
    )
    counts = {
        name: {str(cover): count_windows(mask, ROI, step, cover) for cover in (None, "touch", "centre")}
        for name, step in STEPS.items()
    }
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(image[None, :, :24, :24, :16])
    flops = counter.get_total_flops()
    starts = window_starts(mask, ROI, STEPS["paper"], "touch")
    share = starts[np.linspace(0, len(starts) - 1, windows).astype(int)]
    ours = ms_a_window(network, batches(image, share, BATCH))
    half = ms_a_window(network, batches(image, share, BATCH), half=True)
    one_by_one = ms_a_window(network, batches(image, share[:naive], 1))
    held_volume(network, image)
    hours = {name: round(one["touch"] * ours / 3.6e6, 4) for name, one in counts.items()}
    loop_hours = counts["paper"]["None"] * one_by_one / 3.6e6
    return {
        "task": kind, "threads": torch.get_num_threads(), "share_windows": windows, "share_naive": naive,
        "windows": {n: {"all" if c == "None" else c: v for c, v in one.items()} for n, one in counts.items()},
        "gflop_a_window": round(flops / 1e9, 2), "pflop_touch": round(flops * counts["paper"]["touch"] / 1e15, 3),
        "ms_a_window": round(ours, 1), "ms_a_window_bf16": round(half, 1), "ms_a_window_naive": round(one_by_one, 1),
        "hours_a_volume": hours, "hours_naive": round(loop_hours, 2),
        "ratio_to_naive": round(loop_hours / hours["paper"], 1),
        "largest_difference": largest_difference(network, channels),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=sorted(GRIDS), default=["spes", "siss"])
    parser.add_argument("--windows", type=int, default=160, help="windows timed in batches of 16 (default: 160)")
    parser.add_argument("--naive", type=int, default=12, help="windows timed one a call (default: 12)")
    parser.add_argument("--threads", type=int, help="processor threads (default: what torch takes)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for kind in args.tasks:
        print(json.dumps(measure(kind, args.windows, args.naive)), flush=True)


if __name__ == "__main__":
    main()
