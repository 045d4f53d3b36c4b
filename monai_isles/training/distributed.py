"""Several processes, one training: who am I, on which device, and the network they share."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn

from monai_isles.errors import IslesError


def join_group() -> None:
    """Join the process group that ``torchrun`` describes in the environment: NCCL with GPUs, Gloo without.

    Raises:
        IslesError: ``E-RUN-21`` outside ``torchrun``.
    Source: ours; ``tests/bundles/test_verbatim.py``.
    """
    if "LOCAL_RANK" not in os.environ:
        raise IslesError(
            "E-RUN-21",
            "several processes were asked for, one is there",
            where="multi_gpu_train.json",
            found="no LOCAL_RANK in the environment",
            fix="start with `torchrun --standalone --nproc_per_node=N -m monai.bundle run ...`",
        )
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave_group() -> None:
    """Leave the process group at the end of the run."""
    dist.destroy_process_group()


def rank() -> int:
    """Return this process's number, 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank_device() -> torch.device:
    """Return this process's GPU, or the CPU where there is none."""
    return torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu")


def shared(network: nn.Module, device: torch.device) -> nn.Module:
    """Return ``network`` on ``device`` with its gradients averaged over the processes."""
    placed = network.to(device)
    if device.type == "cuda":
        placed = nn.SyncBatchNorm.convert_sync_batchnorm(placed)
    return nn.parallel.DistributedDataParallel(placed, device_ids=[device] if device.type == "cuda" else None)
