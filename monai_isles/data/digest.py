"""One checksum over what a data list says, so that a run can tell whether its list changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

SAYS_WHAT_IS_TRAINED = ("training", "test", "label_values", "target")


def list_digest(content: Mapping[str, object]) -> str:
    """Return ``<cases> cases, SHA-256 <digest>`` of the cases of a data list, their files, folds and labels.

    Titles and the order of keys do not count; the order of the cases does.

    Source: ours; ``tests/data/test_digest.py``.
    """
    part = {key: content[key] for key in SAYS_WHAT_IS_TRAINED if key in content}
    text = json.dumps(part, sort_keys=True, ensure_ascii=False)
    cases = sum(len(content.get(section, ())) for section in ("training", "test"))
    return f"{cases} cases, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
