"""What MONAI's engines lack: exact resume, checkpoints that survive, curves, a guard against NaN."""

from monai_isles.training.checkpoints import Checkpoints
from monai_isles.training.device import pick_device
from monai_isles.training.distributed import join_group, leave_group, rank, rank_device, shared, world_size
from monai_isles.training.early_stop import EarlyStop
from monai_isles.training.epochs import Curves, EpochOrder, case_names
from monai_isles.training.exits import plain_exits
from monai_isles.training.guard import FiniteGuard

__all__ = [
    "Checkpoints",
    "Curves",
    "EarlyStop",
    "EpochOrder",
    "FiniteGuard",
    "case_names",
    "join_group",
    "leave_group",
    "pick_device",
    "plain_exits",
    "rank",
    "rank_device",
    "shared",
    "world_size",
]
