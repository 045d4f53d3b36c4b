from .engine import run_cases
from .task import Task

__all__ = ["Task", "run_cases"]
