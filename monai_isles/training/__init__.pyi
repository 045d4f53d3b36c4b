from .checkpoints import Checkpoints, VerifiedWeights, WholeMetricsSaver
from .distributed import join_group, leave_group, pick_device, rank, rank_device, shard, shared, world_size
from .epochs import CodeSpread, Curves, DiscriminatorStep, EpochOrder, ListedOutput, WeightAverage, case_names, existing
from .fixed_rule import FixedRule
from .guard import FiniteGuard
from .run_options import plain_exits
from .schedules import EarlyStop, FineTuning, PlateauSchedule, SequentialStages
from .speed import AutocastInferer, training_speed

__all__ = [
    "AutocastInferer",
    "Checkpoints",
    "CodeSpread",
    "Curves",
    "DiscriminatorStep",
    "EarlyStop",
    "EpochOrder",
    "FineTuning",
    "FiniteGuard",
    "FixedRule",
    "ListedOutput",
    "PlateauSchedule",
    "SequentialStages",
    "VerifiedWeights",
    "WeightAverage",
    "WholeMetricsSaver",
    "case_names",
    "existing",
    "join_group",
    "leave_group",
    "pick_device",
    "plain_exits",
    "rank",
    "rank_device",
    "shard",
    "shared",
    "training_speed",
    "world_size",
]
