"""Patches from the balanced sampler against RandCropByPosNegLabeld on the same phantom cases.

Both make 4000 patches of 64 x 64 with ten channels from one case. Beside the ratio: patches a second of the sampler
alone, plain, with elastic repeats and made ahead in a thread; the sampler's share of a training step of the paper's
network at its batch of 64; the share of lesion voxels in the brain and in the patches. Simulated data.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import bench
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import RandCropByPosNegLabeld
from torch import Tensor

from monai_isles.losses import GeneralizedDiceCELoss
from monai_isles.networks import AsymmetricResUNet
from monai_isles.phantom import make_case
from monai_isles.sampling import PatchLoader

SUBJECT, PATCH, COUNT, BATCH = "patches", 64, 4000, 64
ELASTIC = {"alpha": 2.5, "sigma": 0.12}


def cases(number: int) -> list[dict[str, object]]:
    """Return phantom cases as the preprocessing leaves them: ten channels, padded by half a patch."""
    border = ((0, 0), (PATCH // 2, PATCH // 2), (PATCH // 2, PATCH // 2), (0, 0))
    made = []
    for index in range(1, number + 1):
        case = make_case(index, seed=2018, max_slices=4)
        maps = [case.images[key] for key in ("ct", "cbf", "cbv", "mtt", "tmax")]
        image = np.stack([*maps, *maps]).astype(np.float32)
        label = case.label[None].astype(np.float32)
        brain = (sum(maps[1:]) > 0)[None].astype(np.float32)
        padded = [np.pad(volume, border) for volume in (image, label, brain)]
        made.append(dict(zip(("image", "label", "foreground"), padded, strict=True)) | {"case": f"case_{index}"})
    return made


def consume(loader: PatchLoader) -> None:
    """Make every batch and let it go, as a training does; keeping 650 MB of them would time page faults."""
    for _ in loader:
        continue


def stock(case: dict[str, object], count: int) -> Callable[[], None]:
    """Return a call that makes ``count`` patches one by one, as a MONAI training chain does."""
    crop = RandCropByPosNegLabeld(
        keys=["image", "label"],
        label_key="label",
        spatial_size=(PATCH, PATCH, 1),
        pos=1,
        neg=1,
        num_samples=1,
        image_key="foreground",
    )
    entry = {key: MetaTensor(case[key]) for key in ("image", "label", "foreground")}

    def make() -> None:
        for _ in range(count):
            crop(entry)

    return make


def step_s(batch: dict[str, Tensor], rounds: int) -> float:
    """Return the seconds of a training step of the paper's network on one batch."""
    torch.manual_seed(0)
    network, loss = AsymmetricResUNet(2, 10), GeneralizedDiceCELoss()
    optimizer = torch.optim.Adadelta(network.parameters())
    taken = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(network(batch["image"]), batch["label"]).backward()
        optimizer.step()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def wrong_patches(loader: PatchLoader, case: dict[str, object]) -> int:
    """Count the patches of an unshuffled epoch that are not the volume at their place."""
    wrong, place = 0, 0
    for batch in loader:
        for image in batch["image"]:
            d, i, j = loader.start[place]
            wrong += not np.array_equal(image, case["image"][:, i : i + PATCH, j : j + PATCH, d])
            place += 1
    return wrong


def row(data: list[dict[str, object]], count: int, args: argparse.Namespace) -> bool:
    """Report one case's patches against MONAI's chain."""

    def made(**changes: object) -> PatchLoader:
        return PatchLoader(data[:1], patch=(PATCH, PATCH), per_case=count, batch_size=BATCH, **changes)

    plain, bent, early = made(), made(elastic=ELASTIC), made(elastic=ELASTIC, prefetch=2)
    methods = {
        "RandCropByPosNegLabeld(num_samples=1)": stock(data[0], count),
        "sampler, elastic, made ahead": lambda: consume(early),
        "sampler with elastic": lambda: consume(bent),
        "sampler": lambda: consume(plain),
    }
    times = bench.alternate(methods, args.rounds)
    step = step_s(next(iter(plain)), args.rounds)
    shares = {name: BATCH * times.medians[name] / count / step for name in ("sampler", "sampler with elastic")}
    rates = {name: round(count / seconds) for name, seconds in times.medians.items()}
    said = (
        f"{', '.join(f'{name} {rate}' for name, rate in rates.items())}; a training step of {BATCH} patches "
        f"{step:.3f} s, of it {', '.join(f'{name} {share:.2%}' for name, share in shares.items())} "
        f"({bent.repeated.mean():.1%} deformed), under 5 % wanted"
    )
    bench.keep({"subject": SUBJECT, "row": "patches a second", "said": said}, args)
    return bench.report(
        SUBJECT, f"{count} patches", times, args, wanted=50, difference=wrong_patches(made(shuffle=False), data[0]),
        tolerance=0, patches_a_second=rates, step_s=step, share_of_a_step=shares["sampler"],
        share_of_a_step_elastic=shares["sampler with elastic"], deformed=float(bent.repeated.mean()),
        ratio_elastic=times.medians["RandCropByPosNegLabeld(num_samples=1)"] / times.medians["sampler with elastic"],
    )  # fmt: skip


def balance(data: list[dict[str, object]], count: int, args: argparse.Namespace) -> None:
    """Keep what the sampler does to the share of lesion voxels."""
    loader = PatchLoader(data, patch=(PATCH, PATCH), per_case=count, batch_size=BATCH, elastic=ELASTIC)
    brain = sum(float(c["label"].sum()) for c in data) / sum(float(c["foreground"].sum()) for c in data)
    patches = statistics.fmean(float(batch["label"].mean()) for batch in loader)
    said = (
        f"lesion share: brain {brain:.1%}, patches {patches:.1%} (paper: 5 % to 12 %); "
        f"repeats {loader.repeated.mean():.1%} (paper: about 5 %); {len(data)} simulated scans"
    )
    shares = {"lesion_share_brain": brain, "lesion_share": patches, "repeated": float(loader.repeated.mean())}
    bench.keep({"subject": SUBJECT, "row": "balance", "said": said, "cases": len(data), **shares}, args)


def main(words: Sequence[str] | None = None) -> int:
    """Report the sampler."""
    parser = bench.arguments(__doc__)
    parser.add_argument("--cases", type=int, default=6, help="phantom cases of the balance (default: 6)")
    args = bench.begin(parser, words)
    data = cases(1 if args.quick else args.cases)
    count = 128 if args.quick else COUNT
    agreed = row(data, count, args)
    balance(data, count, args)
    return bench.outcome(agreed)


if __name__ == "__main__":
    raise SystemExit(main())
