"""What MONAI's engines lack: exact resume, checkpoints that survive, curves, a guard against NaN."""

from monai_isles.training.adversarial import DiscriminatorStep
from monai_isles.training.autocast_inferer import AutocastInferer
from monai_isles.training.checkpoints import Checkpoints
from monai_isles.training.device import pick_device
from monai_isles.training.distributed import (
    SharedNetwork,
    agreed,
    join_group,
    leave_group,
    rank,
    rank_device,
    shard,
    shared,
    world_size,
)
from monai_isles.training.early_stop import EarlyStop
from monai_isles.training.epochs import Curves, EpochOrder, case_names
from monai_isles.training.exits import plain_exits
from monai_isles.training.fine_tuning import FineTuning, PlateauSchedule
from monai_isles.training.fixed_rule import FixedRule
from monai_isles.training.group_batch import GroupBatch, GroupLoss
from monai_isles.training.guard import FiniteGuard
from monai_isles.training.sequential import SequentialStages
from monai_isles.training.verified import VerifiedWeights, WholeMetricsSaver

__all__ = [
    "AutocastInferer",
    "Checkpoints",
    "Curves",
    "DiscriminatorStep",
    "EarlyStop",
    "EpochOrder",
    "FineTuning",
    "FiniteGuard",
    "FixedRule",
    "GroupBatch",
    "GroupLoss",
    "PlateauSchedule",
    "SequentialStages",
    "SharedNetwork",
    "VerifiedWeights",
    "WholeMetricsSaver",
    "agreed",
    "case_names",
    "join_group",
    "leave_group",
    "pick_device",
    "plain_exits",
    "rank",
    "rank_device",
    "shard",
    "shared",
    "world_size",
]
