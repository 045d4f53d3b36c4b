from .engine import run_cases
from .kept import kept
from .place import HERE, Place, is_spread, stands_elsewhere
from .task import Record, Task, failed, reason

__all__ = ["HERE", "Place", "Record", "Task", "failed", "is_spread", "kept", "reason", "run_cases", "stands_elsewhere"]
