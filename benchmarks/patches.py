"""Patches from the balanced sampler against RandCropByPosNegLabeld on the same phantom cases, in one run.

Prints the share of lesion voxels in the brain and in the patches, the share of repeated patches, and the time for
4000 patches of either, as medians of alternating rounds. Simulated data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import RandCropByPosNegLabeld

from monai_isles.phantom import make_case
from monai_isles.sampling import PatchLoader

PATCH, COUNT, ROUNDS = 64, 4000, 3


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


def seconds(make: Callable[[], None]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    make()
    return time.perf_counter() - start


def consume(loader: PatchLoader) -> None:
    """Make every batch and let it go, as a training does; keeping 650 MB of them would time page faults."""
    for _ in loader:
        continue


def stock(case: dict[str, object]) -> Callable[[], None]:
    """Return a call that makes ``COUNT`` patches one by one, as a MONAI training chain does."""
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
        for _ in range(COUNT):
            crop(entry)

    return make


def main() -> None:
    """Print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=6)
    count = parser.parse_args().cases
    torch.set_num_threads(1)
    data = cases(count)
    loader = PatchLoader(data, patch=(PATCH, PATCH), per_case=COUNT, elastic={"alpha": 2.5, "sigma": 0.12})
    brain = sum(float(c["label"].sum()) for c in data) / sum(float(c["foreground"].sum()) for c in data)
    patches = statistics.fmean(float(batch["label"].mean()) for batch in loader)
    plain = PatchLoader(data[:1], patch=(PATCH, PATCH), per_case=COUNT)
    bent = PatchLoader(data[:1], patch=(PATCH, PATCH), per_case=COUNT, elastic={"alpha": 2.5, "sigma": 0.12})
    rounds = [
        (seconds(stock(data[0])), seconds(lambda: consume(plain)), seconds(lambda: consume(bent)))
        for _ in range(ROUNDS)
    ]
    reference, ours, deformed = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"lesion share: brain {brain:.1%}, patches {patches:.1%} ({count} phantom cases; paper: 5 % to 12 %)")
    print(f"repeated patches {loader.repeated.mean():.1%} (paper: about 5 % augmented)")
    print(
        f"{COUNT} patches: RandCropByPosNegLabeld(num_samples=1) {reference:.2f} s, ours {ours:.3f} s, "
        f"ours with elastic ({bent.repeated.mean():.0%} deformed) {deformed:.3f} s"
    )
    print(f"ratio {reference / ours:.0f}x, with elastic {reference / deformed:.0f}x")
    print(
        json.dumps(
            {
                "subject": "patches",
                "reference_s": reference,
                "ours_s": ours,
                "elastic_s": deformed,
                "ratio": reference / ours,
                "lesion_share": patches,
                "repeated": float(loader.repeated.mean()),
            }
        )
    )


if __name__ == "__main__":
    main()
