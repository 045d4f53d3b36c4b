"""Compiled networks give the same numbers, whatever the masks, and need a compiler."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.inference import StepSlidingWindowInferer, WholeSliceInferer
from monai_isles.inference.cpu.fast_form import CompiledParts, CompiledWhole, fast_form
from monai_isles.networks import AsymmetricResUNet

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


@pytest.mark.long
@needs_compiler
def test_compiled_windows_equal_the_others_with_masks_that_change_every_pass() -> None:
    network, image = AsymmetricResUNet(2, 1, base_channels=2, levels=2).eval(), torch.randn(1, 1, 16, 12, 2)
    plain, compiled = (
        StepSlidingWindowInferer((8, 8), (4, 4), mc_passes=3, mc_rate=0.5, batch_size=7, compiled=c)
        for c in (False, True)
    )
    wanted = plain.infer(image, network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compiled.infer(image, network)
        again = compiled.infer(image + 1, network)
    assert wanted.windows % 7  # the last group is not the compiled size
    torch.testing.assert_close(found.probability, wanted.probability, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.uncertainty, wanted.uncertainty, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.probability, plain.infer(image + 1, network).probability, atol=1e-5, rtol=0)


@needs_compiler
def test_whole_slices_are_compiled_too() -> None:
    network, image = nn.Conv2d(1, 2, 3, padding=1).eval(), torch.randn(1, 1, 8, 8, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = WholeSliceInferer(2, batch_size=4, compiled=True).infer(image, network)
    torch.testing.assert_close(found.probability, WholeSliceInferer(2).infer(image, network).probability)


def test_a_network_in_two_parts_is_compiled_in_two(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    cpu = torch.device("cpu")
    assert type(fast_form(AsymmetricResUNet(2, 3).eval(), cpu, compiled_for=8)) is CompiledParts
    assert type(fast_form(nn.Conv2d(3, 2, 1), cpu, compiled_for=8)) is CompiledWhole


def test_without_a_compiler_the_option_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        IslesError, match=r"E-INF-41: networks cannot be compiled here(?s:.*)no C\+\+ compiler(?s:.*)g\+\+"
    ):
        fast_form(nn.Conv2d(3, 2, 1), torch.device("cpu"), compiled_for=8)
