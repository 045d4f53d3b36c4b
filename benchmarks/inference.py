"""The CT protocol (windows of 64 x 64 at step 3, three dropout passes) against MONAI's ``sliding_window_inference``.

The reference is MONAI as it comes: every window of every slice, four a call, one call a pass, the network in torch's
own memory order; the five networks are five times that. Ours are the bundle's windows, those centred on the brain.
Both run on a part of a simulated 256 x 256 x 22 scan that the network never saw: one tile of slices from its middle, at
the real step; the seconds of the scan follow from the number of windows, which both need one after the other. Rows
named "same windows" leave out what the choice of windows brings.

Checked in the same run: with the masks of our generator laid into MONAI's passes window by window, both maps are equal;
the fastest mode's mask differs from the exact one's in so many voxels, as a share of the lesion.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import bench
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.inference import Predictor, StepSlidingWindowInferer, load_predictor
from monai_isles.inference.windows import prediction_dropout
from monai_isles.inference.windows_plan import WindowMasks, site_sizes, window_starts
from monai_isles.io import Image
from monai_isles.io.publish import publish_image
from monai_isles.phantom import make_case

SUBJECT, ROI, STEP, PASSES, RATE = "inference", 64, 3, 3, 0.1
BUNDLE = Path(__file__).parents[1] / "bundles/clerigues"
SEED, LARGEST, SMALL, SLICES = 2019, 38, 1, 22
CUT = 0.2


def prepared_scan(predictor: Predictor, number: int, folder: Path) -> tuple[Tensor, Tensor]:
    """Return image (C, H, W, D) and brain (1, H, W, D) of a simulated scan as the bundle prepares them."""
    scan, entry = make_case(number, seed=SEED), {"case": "case"}
    affine = np.diag([*scan.spacing_mm, 1.0])
    for key in predictor.modalities:
        data = scan.images[key].astype(np.float32)
        entry[key] = str(folder / f"{key}.nii.gz")
        like = Image(data, affine, scan.spacing_mm, folder / "none", "", affine, data.shape)
        publish_image(folder / f"{key}.nii.gz", data, like, dtype="float32")
    data = predictor.prepare(entry)
    return data["image"].as_tensor(), data["foreground"].as_tensor()


def stock(network: nn.Module, slices: Tensor, step: int, *, passes: int = PASSES) -> Tensor:
    """Return the mean softmax (N, K, H, W) by MONAI: one call a pass over slices (N, C, H, W)."""
    overlap = 1 - step / ROI
    with torch.inference_mode(), prediction_dropout(network, RATE):
        found = [
            sliding_window_inference(slices, (ROI, ROI), 4, lambda x: network(x).softmax(1), overlap=overlap)
            for _ in range(passes)
        ]
    return torch.stack(found).mean(0)


def ours(
    networks: list[nn.Module], slices: Tensor, brain: Tensor | None = None, **given: object
) -> Callable[[], Tensor]:
    """Return a call that gives our probabilities (1, K, H, W, N) of slices (N, C, H, W), every window by default."""
    given = {"step": (STEP, STEP), "mc_passes": PASSES, "mc_rate": RATE, "cover": "touch"} | given
    inferer = StepSlidingWindowInferer((ROI, ROI), **given)
    volume = slices.movedim(0, -1)[None]
    return lambda: inferer.infer(volume, networks, brain).probability


class MaskedInOrder(nn.Module):
    """A network that gets the masks of our generator in the order in which MONAI cuts its windows."""

    def __init__(self, network: nn.Module, starts: np.ndarray, masks: WindowMasks, turn: int) -> None:
        super().__init__()
        self.network, self.starts, self.masks, self.turn, self.done = network, starts, masks, turn, 0

    def forward(self, windows: Tensor) -> Tensor:
        here = self.starts[self.done : self.done + len(windows)]
        self.done += len(windows)
        with prediction_dropout(self.network, RATE) as sites:
            self.masks.lay(self.masks.draw(here), self.turn, sites)
            return self.network(windows).softmax(1)


def difference_to_stock(network: nn.Module, image: Tensor, *, step: int) -> float:
    """Return the largest difference to MONAI in the middle of one slice (C, 200, 200), same windows, same masks.

    Our grid begins within the image, MONAI's at its first voxel: it gets the image from our first window on.
    """
    first = (step // 2 - ROI // 2) % step
    middle = torch.zeros(1, 1, *image.shape[1:], 1)
    edge = image.shape[-1] // 2
    middle[..., edge - 3 : edge + 3, edge - 3 : edge + 3, :] = 1
    found = ours([network], image[None], middle, step=(step, step), seed=0)()[0, 1, ..., 0]
    rest = image[None, :, first:, first:]
    firsts = [sorted({min(a, n - ROI) for a in range(0, n - ROI + step, step)}) for n in rest.shape[2:]]
    starts = np.array([(i + first, j + first, 0) for i, j in itertools.product(*firsts)])
    with torch.inference_mode():
        masks = WindowMasks(site_sizes(network, rest[..., :ROI, :ROI]), PASSES, RATE, seed=0)
        passes = [
            sliding_window_inference(
                rest, (ROI, ROI), 4, MaskedInOrder(network, starts, masks, t), overlap=1 - step / ROI
            )
            for t in range(PASSES)
        ]
    wanted = torch.zeros_like(found)
    wanted[first:, first:] = torch.stack(passes).mean(0)[0, 1]
    seen = middle[0, 0, ..., 0] > 0
    return bench.largest_difference(wanted[seen], found[seen])


def lesion_slices(network: nn.Module, image: Tensor, brain: Tensor, most: int) -> list[tuple[Tensor, Tensor]]:
    """Return 200 x 200 voxels (C, H, W) around the lesion of the slices with most of it, and the lesion there."""
    found = ours([network], image.movedim(-1, 0), brain[None], step=(16, 16), cover="centre")()[0, 1] > CUT
    parts = []
    for k in found.sum((0, 1)).argsort(descending=True)[:most].tolist():
        middle = [int(axis.float().median()) for axis in found[..., k].nonzero(as_tuple=True)]
        firsts = [min(max(m - 100, 0), n - 200) for m, n in zip(middle, found.shape, strict=False)]
        place = tuple(slice(a, a + 200) for a in firsts)
        parts.append((image[(slice(None), *place, k)], found[(*place, k)]))
    return [part for part in parts if part[1].any()]


def flipped_share(network: nn.Module, parts: list[tuple[Tensor, Tensor]], step: int, **mode: object) -> float:
    """Return how many voxels change sides of the cut around the lesions, as a share of them."""
    flipped = voxels = 0
    for image, lesion in parts:
        near = F.max_pool2d(lesion[None, None].float(), 9, 1, 4)[..., None]
        exact, fast = (ours([network], image[None], near, step=(step, step), **m)()[0, 1] > CUT for m in ({}, mode))
        inside = near[0, 0] > 0
        flipped += int(((exact != fast) & inside).sum())
        voxels += int((exact & inside).sum())
    return flipped / max(voxels, 1)


def flop_a_window(network: nn.Module) -> float:
    """Return the floating point operations of one window: the part above the dropout once, the rest every pass."""
    window = torch.zeros(1, 10, ROI, ROI)
    with torch.inference_mode():
        fixed = network.fixed_part(window)
        return bench.flops(lambda: network.fixed_part(window)) + PASSES * bench.flops(
            lambda: network.noisy_part(*fixed)
        )


def tile_of(image: Tensor, slices: int, windows: int) -> Tensor:
    """Return the tile (N, C, h, w) around the middle that holds ``windows`` x ``windows`` of MONAI's windows."""
    side = ROI + STEP * (windows - 1)
    i, j, k = ((n - m) // 2 for n, m in zip(image.shape[1:], (side, side, slices), strict=True))
    return image[:, i : i + side, j : j + side, k : k + slices].movedim(-1, 0).contiguous()


class Setting(NamedTuple):
    """What all rows share: the network, a scan, the tile that is timed, and the numbers of windows."""

    network: nn.Module
    image: Tensor
    brain: Tensor
    tile: Tensor
    own: int
    theirs: int
    counts: dict[str, int]


def setting_of(quick: bool) -> Setting:
    """Return the bundle's network and a simulated scan of 256 x 256 x 22, or a small one counted as if it had 22."""
    with tempfile.TemporaryDirectory() as folder:
        predictor = load_predictor(BUNDLE, Path(folder) / "out", device="cpu")
        image, brain = prepared_scan(predictor, SMALL if quick else LARGEST, Path(folder))
    roi, step = (ROI, ROI, 1), (STEP, STEP, 1)
    tile = tile_of(image, 1 if quick else 4, 4 if quick else 8)
    on_brain = len(window_starts(brain[0].numpy() > 0, roi, step)) * SLICES / image.shape[-1]
    everywhere = (-(-(256 - ROI) // STEP) + 1) ** 2 * SLICES
    counts = {"windows_reference": everywhere, "windows_ours": round(on_brain), "slices_counted": image.shape[-1]}
    own = len(window_starts(np.ones((*tile.shape[2:], 1), bool), roi, step, "touch")) * len(tile)
    theirs = len(tile) * ((tile.shape[-1] - ROI) // STEP + 1) ** 2
    return Setting(predictor.networks[0], image, brain, tile, own, theirs, counts)


def main(words: Sequence[str] | None = None) -> int:
    """Report one network, the fastest mode, five networks, and how seconds grow with passes and networks."""
    warnings.filterwarnings("ignore")
    args = bench.begin(bench.arguments(__doc__, rounds=5), words)
    s = setting_of(args.quick)
    plain = copy.deepcopy(s.network).to(memory_format=torch.contiguous_format)
    group = {"batch_size": min(32, s.own)}
    half, fastest = group | {"precision": "bf16"}, group | {"precision": "bf16", "compiled": True}
    modes: dict[str, Callable[[], object]] = {
        "MONAI": lambda: stock(plain, s.tile, STEP),
        "exact": ours([s.network], s.tile, **group),
        "bf16": ours([s.network], s.tile, **half),
        "bf16 compiled": ours([s.network], s.tile, **fastest),
        "five exact": ours([s.network] * 5, s.tile, **group),
        "five bf16": ours([s.network] * 5, s.tile, **half),
    }
    parts = dict.fromkeys(modes, s.own / s.counts["windows_ours"])
    parts["MONAI"] = s.theirs / s.counts["windows_reference"]
    times = bench.alternate(modes, args.rounds, shares=parts)
    lesions = lesion_slices(s.network, s.image, s.brain, 1 if args.quick else 8)
    step = 12 if args.quick else STEP
    exact = {"difference": difference_to_stock(s.network, lesions[0][0], step=12), "tolerance": 1e-5}
    flips = [
        {
            "difference": flipped_share(s.network, lesions, step, **mode),
            "tolerance": 1e-2 if args.quick else 1e-3,
        }
        for mode in (half, fastest)
    ]
    agreed = rows(s, times, args, exact, *flips)
    growths(s, args)
    return bench.outcome(*agreed)


def rows(
    s: Setting,
    times: bench.Times,
    args: argparse.Namespace,
    exact: dict[str, float],
    half: dict[str, float],
    fastest: dict[str, float],
) -> list[bool]:
    """Report every mode, as a whole scan and window against window."""
    flop, agreed = flop_a_window(s.network) * s.counts["windows_ours"], []
    for row, mode, agreement, wanted, networks in [
        ("one network, fp32", "exact", exact, 2.4, 1),
        ("one network, bf16", "bf16", half, None, 1),
        ("one network, bf16, compiled", "bf16 compiled", fastest, 4.0, 1),
        ("five networks, fp32", "five exact", exact, 2.5, 5),
        ("five networks, bf16", "five bf16", half, None, 5),
    ]:
        name = "MONAI" if networks == 1 else f"MONAI {networks} times"
        pair = bench.Times(
            {name: times.medians["MONAI"] * networks, mode: times.medians[mode]},
            {name: times.spreads["MONAI"], mode: times.spreads[mode]},
            {},
            {name: [networks * one for one in times.rounds["MONAI"]], mode: times.rounds[mode]},
            {name: times.shares["MONAI"], mode: times.shares[mode]},
        )
        ratio = pair.medians[name] / pair.medians[mode] * s.counts["windows_ours"] / s.counts["windows_reference"]
        more = {"wanted": wanted, "flop": flop * networks, "ratio_same_windows": round(ratio, 2), **s.counts}
        agreed.append(bench.report(SUBJECT, row, pair, args, **agreement, **more))
        print(f"  window against window {ratio:.2f}")
    return agreed


def growths(s: Setting, args: argparse.Namespace) -> None:
    """Report how the seconds of the scan grow with passes, networks and step."""
    one, part = s.tile[:1], s.own / len(s.tile) / s.counts["windows_ours"]
    for what, amounts, call in [
        ("passes", (1, 2, 3, 6), lambda n: ours([s.network], one, mc_passes=n)),
        ("networks", (1, 2, 5), lambda n: ours([s.network] * n, one)),
    ]:
        times = bench.alternate({str(n): call(n) for n in amounts}, 1 if args.quick else 3)
        bench.growth(SUBJECT, what, [(n, times.medians[str(n)] / part) for n in amounts], args)
    mask = s.brain[0].numpy() > 0
    second = bench.alternate({"ours": ours([s.network], one)}, 1).medians["ours"] / (s.own / len(s.tile))
    scale = SLICES / mask.shape[-1]
    points = [(n, len(window_starts(mask, (ROI, ROI, 1), (n, n, 1))) * scale * second) for n in (3, 4, 8, 16, 32, 64)]
    bench.growth(SUBJECT, "step", points, args)


if __name__ == "__main__":
    raise SystemExit(main())
