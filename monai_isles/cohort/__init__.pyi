from .engine import run_cases
from .task import Place, Task

__all__ = ["Place", "Task", "run_cases"]
