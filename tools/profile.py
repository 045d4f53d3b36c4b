"""Print where the time of one prediction and of one training epoch goes: ``python tools/profile.py predict --help``.

The work is in ``where_time_goes.py``. A script of this folder finds this file where ``cProfile`` looks for the standard
library's ``profile``; imported, this file therefore stands aside for that module.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    from where_time_goes import main

    raise SystemExit(main())

_spec = importlib.util.spec_from_file_location(__name__, Path(sysconfig.get_path("stdlib")) / "profile.py")
_theirs = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _theirs
_spec.loader.exec_module(_theirs)
