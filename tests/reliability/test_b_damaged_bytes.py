"""Group B of the reliability list: damaged bytes of images, cache, checkpoints and weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.io import load_state
from monai_isles.io.weights import publish_state
from monai_isles.networks import AsymmetricResUNet
from tests.reliability import gates

Gate, Run = Callable[..., object], Callable[..., object]
FLIPS = 20


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


def flipped(sound: bytes, place: int, bit: int) -> bytes:
    damaged = bytearray(sound)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


@pytest.mark.long
def test_b6_a_cut_or_flipped_preprocessed_case_is_dropped_rebuilt_and_said(
    case: Path, predict: Run, works: Gate, same_maps: Callable, tmp_path: Path
) -> None:
    cache = tmp_path / "cache/.monai_isles_cache"
    works(predict, case, "--cache", cache)
    (entry,) = cache.glob("case-*")
    sound = entry.read_bytes()
    for damaged in (sound[: len(sound) // 2], flipped(sound, len(sound) // 2, 4)):
        entry.write_bytes(damaged)
        shutil.rmtree(tmp_path / "out/case_7")
        works(predict, case, "--cache", cache, says=["damaged cache entry", entry.name])
        assert entry.stat().st_size == len(sound)
        same_maps()


def test_b7_a_cut_checkpoint_is_passed_over_for_the_one_before(resumed: Run, tmp_path: Path) -> None:
    newest, before = (tmp_path / f"run/checkpoint-000{n}.pt" for n in (2, 1))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    shown = resumed(epochs=3)
    gates.require_success(shown, [f"{newest} cannot be read and is passed over", f"resuming after epoch 1 of {before}"])
    assert load_state(newest)["epoch"] == 2 and load_state(tmp_path / "run/checkpoint-0003.pt")["epoch"] == 3


def test_b7_when_no_checkpoint_verifies_nothing_starts_anew(resumed: Run, refused: Gate, tmp_path: Path) -> None:
    for path in (tmp_path / "run").glob("checkpoint-*.pt"):
        path.write_bytes(path.read_bytes()[:-400])
    says = ["checkpoint-0001.pt: checkpoint is cut short", "checkpoint-0002.pt: checkpoint is cut short"]
    refused(resumed, exit_code=4, code="E-TRAIN-04", says=says)


def test_b8_one_flipped_bit_in_a_checkpoint_never_loads_as_other_weights(
    untrained_weights: Path, case: Path, predict: Run, refused: Gate, tmp_path: Path
) -> None:
    sound, wanted, path = untrained_weights.read_bytes(), load_state(untrained_weights), tmp_path / "model.pt"
    draw = np.random.default_rng(8)
    for place, bit in zip(draw.integers(0, len(sound), 101), draw.integers(0, 8, 101), strict=True):
        path.write_bytes(flipped(sound, place, bit))
        try:
            state = load_state(path)
        except IslesError as error:
            assert error.code in ("E-FILE-14", "E-FILE-15", "E-SAFE-02") and "model.pt" in error.where
        else:
            assert all(torch.equal(state[name], value) for name, value in wanted.items()), (place, bit)
    for part in (0.2, 0.5, 0.8):
        path.write_bytes(flipped(sound, int(part * len(sound)), 3))
        says = [str(path), "use the previous checkpoint, or copy the file again"]
        refused(predict, case, weights=path, exit_code=4, code="E-FILE-15", says=says)


def test_b8_a_flipped_bit_in_the_newest_checkpoint_is_passed_over(resumed: Run, tmp_path: Path) -> None:
    newest = tmp_path / "run/checkpoint-0002.pt"
    newest.write_bytes(flipped(newest.read_bytes(), newest.stat().st_size // 2, 6))
    says = [f"{newest} cannot be read and is passed over: checkpoint is damaged", "resuming after epoch 1 of"]
    gates.require_success(resumed(epochs=3), says)


def test_b9_weights_of_another_network_are_refused_with_both_origins(
    case: Path, predict: Run, refused: Gate, tmp_path: Path
) -> None:
    path = tmp_path / "wide/model.pt"
    publish_state(path, AsymmetricResUNet(2, 10, base_channels=16).state_dict())
    (tmp_path / "wide/run.json").write_text('{"settings": {"network": "AsymmetricResUNet( (stem): Conv2d(10, 16) )"}}')
    says = [
        str(path),
        "bundles/clerigues/inference.json",
        "(16,",
        "for (8,",
        f"trained as AsymmetricResUNet ({path.parent}",
    ]
    refused(predict, case, weights=path, exit_code=4, code="E-INF-12", says=says)
