from .engine import run_cases
from .task import HERE, Place, Record, Task, failed, is_spread, kept, reason, stands_elsewhere

__all__ = ["HERE", "Place", "Record", "Task", "failed", "is_spread", "kept", "reason", "run_cases", "stands_elsewhere"]
