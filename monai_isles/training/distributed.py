"""Run one training in several processes: rank, device, shared cases and averaged gradients."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence, Sized
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from monai_isles.errors import first_line, refused


def pick_device(name: str = "auto") -> torch.device:
    """Return the named device; ``auto`` is the first GPU where there is one, else the CPU.

    Raises: ``E-RUN-20`` when a GPU is requested and none can be used, or the name is unknown.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    gpu = torch.cuda.is_available()
    if name.startswith("cuda") and not gpu:
        found = f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        raise refused("E-RUN-20", where=f"device {name!r}", found=found)
    try:
        return torch.device("cuda:0" if name == "auto" and gpu else "cpu" if name == "auto" else name)
    except RuntimeError as error:
        text = {"fault": "the device is not known", "fix": "give auto, cpu, cuda or cuda:N"}
        raise refused("E-RUN-20", where=f"device {name!r}", found=first_line(error), **text) from error


_PATIENCE = timedelta(hours=2)


def join_group() -> None:
    """Join the process group that ``torchrun`` describes in the environment: NCCL with GPUs, Gloo without.

    The processes wait two hours for each other: one may be making or preparing data. On several machines a restart
    needs ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` in torchrun's environment; without it torchrun finds the addresses of
    ended processes.

    Raises: ``E-RUN-21`` outside ``torchrun``.

    >>> join_group()  # outside torchrun it is refused
    Traceback (most recent call last):
    ...
    monai_isles.errors.IslesError: E-RUN-21: ...
    """
    if dist.is_initialized():
        return
    if "LOCAL_RANK" not in os.environ:
        raise refused("E-RUN-21", where="multi_gpu_train.json", found="no LOCAL_RANK in the environment")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank_device())
    store, number, size = next(dist.rendezvous("env://", timeout=_PATIENCE))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # else a restart on one machine finds the addresses of the dead
        store = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=_PATIENCE)


def leave_group() -> None:
    """Leave the process group at the end of the run.

    >>> leave_group()  # without a group nothing happens
    """
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return this process's number, 0 for a single process.

    >>> rank()
    0
    """
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes.

    >>> world_size()
    1
    """
    return dist.get_world_size() if dist.is_initialized() else 1


def rank_device() -> torch.device:
    """Return this process's GPU, or the CPU where there is none.

    >>> rank_device().type in ("cpu", "cuda")
    True
    """
    return torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu")


def total_over_processes(values: Sequence[float]) -> list[float]:
    """Return sums over all processes, in float64."""
    numbers = torch.tensor(list(values), dtype=torch.float64)
    if world_size() > 1:
        dist.all_reduce(numbers)
    return numbers.tolist()


def from_first(value: Any) -> Any:
    """Return the first process's object in all of them, so that they take the same decisions."""
    held = [value]
    if world_size() > 1:
        dist.broadcast_object_list(held, src=0)
    return held[0]


def shard(cases: Dataset | None) -> Dataset | None:
    """Return every ``world_size``-th case for this process, or all cases where there are fewer than processes.

    With fewer cases than processes every process scores the same cases. None stays None (no validation).

    >>> list(shard([1, 2, 3]))  # one process takes all cases
    [1, 2, 3]
    """
    if cases is None:
        return None
    count = len(cast(Sized, cases))
    if count < world_size():
        return cases
    return Subset(cases, range(rank(), count, world_size()))


class SharedNetwork(nn.Module):
    """Average the gradients of a network over the processes with ``DistributedDataParallel``.

    The parallel wrapper is rebuilt whenever the set of trained parameters changes, as in the phases of ``FineTuning``
    and the stages of ``SequentialStages``: it waits for exactly the gradients that are computed. Evaluation runs the
    network itself and exchanges nothing, so processes may evaluate different numbers of batches.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module = network
        self._learning: tuple[str, ...] = ()
        self._parallel: list[nn.parallel.DistributedDataParallel] = []  # a list keeps it out of the state dictionary

    def forward(self, *inputs: Tensor) -> object:
        if not (self.module.training and torch.is_grad_enabled()) or world_size() == 1:
            return self.module(*inputs)
        learning = tuple(name for name, parameter in self.module.named_parameters() if parameter.requires_grad)
        if learning != self._learning or not self._parallel:
            self._learning = learning
            device = next(self.module.parameters()).device
            devices = [device] if device.type == "cuda" else None
            self._parallel[:] = [nn.parallel.DistributedDataParallel(self.module, device_ids=devices)]
        return self._parallel[0](*inputs)


def shared(network: nn.Module, device: torch.device) -> nn.Module:
    """Return ``network`` on ``device`` with its gradients averaged over the processes.

    On GPUs batch normalisation takes its statistics over all processes (``torch.nn.SyncBatchNorm``); on processors each
    process normalises by its own batch, and the first one's moving averages are kept.

    >>> shared(nn.Linear(2, 1), torch.device("cpu"))(torch.zeros(3, 2)).shape
    torch.Size([3, 1])
    """
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")  # costs time alone
    network = network.to(device)
    if device.type == "cuda" and world_size() > 1:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return SharedNetwork(network)
