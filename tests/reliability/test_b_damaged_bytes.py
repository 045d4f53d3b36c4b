"""Group B of the reliability list: damaged bytes. B6 to B9 lie with the cache, the checkpoints and the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Gate, Run = Callable[..., object], Callable[..., object]
FLIPS = 40


def through_monais_loader(config: dict) -> None:
    """Load by MONAI's LoadImaged, which tries its other readers (ITK among them) when one fails."""
    config["preprocessing"]["transforms"][0] = {
        "_target_": "monai.transforms.LoadImaged",
        "keys": "$@modalities + ['label']",
        "reader": {"_target_": "monai_isles.io.VerifiedReader"},
        "ensure_channel_first": True,
        "allow_missing_keys": True,
    }


@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_b1_a_compressed_image_cut_short_is_named(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate, cut: float
) -> None:
    path = rewrite(image_of(case, "CT_CBF"), suffix=".nii.gz")
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    refused(predict, case, exit_code=3, code="E-FILE-05", says=["case_7", path.name, "copy the file again"])


def test_b2_no_other_reader_takes_over_a_compressed_image_cut_short(
    case: Path, image_of: Callable, rewrite: Callable, bundle_with: Callable, predict: Run, works: Gate, refused: Gate
) -> None:
    bundle = bundle_with(through_monais_loader)
    path = rewrite(image_of(case, "CT_CBF"), suffix=".nii.gz")
    works(predict, case.rename(case.with_name("case_8")), bundle=bundle)
    case.with_name("case_8").rename(case)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    says = ["case_7: failed", path.name, "copy the file again"]
    refused(predict, case, bundle=bundle, exit_code=3, code="E-FILE-05", says=says)


def test_b3_a_plain_image_cut_short_says_bytes_wanted_and_found(
    case: Path, image_of: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_CBF")
    path.write_bytes(path.read_bytes()[:200_000])
    says = ["case_7", path.name, "200000 bytes, 524640 wanted", "copy the file again"]
    refused(predict, case, exit_code=3, code="E-FILE-05", says=says)


def test_b4_no_other_reader_takes_over_a_plain_image_cut_short(
    case: Path, image_of: Callable, bundle_with: Callable, predict: Run, refused: Gate
) -> None:
    bundle = bundle_with(through_monais_loader)
    path = image_of(case, "CT_CBF")
    path.write_bytes(path.read_bytes()[:200_000])
    says = ["case_7: failed", path.name, "524640 wanted"]
    refused(predict, case, bundle=bundle, exit_code=3, code="E-FILE-05", says=says)


def test_b5_one_flipped_bit_of_a_compressed_image_never_passes(
    case: Path, image_of: Callable, rewrite: Callable, run: Run, predict: Run, refused: Gate
) -> None:
    path = rewrite(image_of(case, "CT_CBF"), suffix=".nii.gz")
    sound = path.read_bytes()
    draw = np.random.default_rng(5)
    for place, bit in zip(draw.integers(10, len(sound), FLIPS), draw.integers(0, 8, FLIPS), strict=True):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        shown = run("check", case.parents[1])
        assert shown.code == 4 and path.name in shown.text and "copy the file again" in shown.text, (place, bit)
    refused(predict, case, exit_code=3, code="E-FILE-0[5-7]", says=["case_7", path.name])
    path.write_bytes(sound)
    assert run("check", case.parents[1]).code == 0
