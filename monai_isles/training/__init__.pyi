from .adversarial import DiscriminatorStep
from .autocast_inferer import AutocastInferer
from .checkpoints import Checkpoints
from .device import pick_device
from .distributed import SharedNetwork, agreed, join_group, leave_group, rank, rank_device, shard, shared, world_size
from .early_stop import EarlyStop
from .epochs import Curves, EpochOrder, case_names
from .exits import plain_exits
from .fine_tuning import FineTuning, PlateauSchedule
from .fixed_rule import FixedRule
from .group_batch import GroupBatch, GroupLoss
from .guard import FiniteGuard
from .sequential import SequentialStages
from .verified import VerifiedWeights, WholeMetricsSaver

__all__ = ["AutocastInferer", "Checkpoints", "Curves", "DiscriminatorStep", "EarlyStop", "EpochOrder", "FineTuning", "FiniteGuard", "FixedRule", "GroupBatch", "GroupLoss", "PlateauSchedule", "SequentialStages", "SharedNetwork", "VerifiedWeights", "WholeMetricsSaver", "agreed", "case_names", "join_group", "leave_group", "pick_device", "plain_exits", "rank", "rank_device", "shard", "shared", "world_size"]
