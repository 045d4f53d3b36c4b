"""Reproduce a paper's tables and figures; ``python -m monai_isles.papers.reproduce`` is the same command."""

from __future__ import annotations

import sys
from pathlib import Path

if str(Path(__file__).resolve().parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from monai_isles.papers.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
