"""The device is chosen, or its absence is said."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.training import join_group, pick_device, rank, world_size


def test_the_cpu_can_always_be_named() -> None:
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_refused_with_the_way_out() -> None:
    assert pick_device() == torch.device("cpu")
    with pytest.raises(IslesError, match="E-RUN-20(?s:.*)--device cpu"):
        pick_device("cuda")
    with pytest.raises(IslesError, match=r"E-RUN-20: the device is not known\n  where device 'gpu'\n"):
        pick_device("gpu")


def test_several_processes_without_their_launcher_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert (rank(), world_size()) == (0, 1)
    with pytest.raises(IslesError, match="E-RUN-21(?s:.*)torchrun"):
        join_group()
