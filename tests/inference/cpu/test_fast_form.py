"""Networks predict in the folded form where there is one, and in the precision asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.inference import StepSlidingWindowInferer, WholeSliceInferer
from monai_isles.inference.cpu.fast_form import fast_form
from monai_isles.inference.cpu.folded_res_unet import FoldedResUNet
from monai_isles.networks import AsymmetricResUNet

CPU = torch.device("cpu")


def test_the_evaluated_network_is_folded_on_a_processor_and_nowhere_else() -> None:
    network = AsymmetricResUNet(2, 3).eval()
    form = fast_form(network, CPU, "bf16")
    assert isinstance(form, FoldedResUNet) and form.products == torch.bfloat16
    assert fast_form(network, torch.device("cuda"), "fp32") is network
    assert fast_form(AsymmetricResUNet(2, 3).train(), CPU, "fp32").training
    other = nn.Conv2d(3, 2, 1).eval()
    assert fast_form(other, CPU, "bf16") is other


@pytest.mark.parametrize("inferer", [StepSlidingWindowInferer, WholeSliceInferer])
def test_another_precision_is_refused_with_the_known_ones(inferer: type) -> None:
    windows = {"roi_size": (8, 8), "step": (4, 4)} if inferer is StepSlidingWindowInferer else {}
    with pytest.raises(IslesError, match=r"E-INF-40: precision not known(?s:.*)'fp8'(?s:.*)fp32, bf16"):
        inferer(**windows, precision="fp8")


@pytest.mark.parametrize("dims", [2, 3])
def test_whole_slices_in_sixteen_bits_stay_near_the_full_precision(dims: int) -> None:
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims](3, 2, 3, padding=1).eval()
    image = torch.randn(1, 3, 16, 16, 4)
    full, half = (WholeSliceInferer(dims, precision=p).infer(image, conv).probability for p in ("fp32", "bf16"))
    assert half.dtype == torch.float32 and 0 < float((full - half).abs().max()) < 0.02
