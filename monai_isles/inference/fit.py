"""Weights belong to one network: tell when they are another's, with the names of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from monai_isles.errors import IslesError


def require_fit(network: nn.Module, state: object, path: Path | None, config: str = "the bundle's config") -> None:
    """Refuse a state dictionary whose names or shapes are not those of the network.

    Args:
        path: the file of the weights, to name; what lies beside it says what they were trained as.
        config: the config that built the network, to name.
    Raises:
        IslesError: ``E-INF-12``.
    Source: ours; case B9 of the reliability list, ``tests/inference/test_fit.py``.
    """
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    named = state.items() if isinstance(state, Mapping) else ()
    other = {name: tuple(getattr(value, "shape", ())) for name, value in named}
    wrong = [
        f"{n}: {other.get(n, 'missing')} for {own.get(n, 'nothing')}"
        for n in {**own, **other}
        if own.get(n) != other.get(n)
    ]
    if wrong:
        made = _trained_as(path)
        raise IslesError(
            "E-INF-12",
            "weights of another network",
            where=f"{path} against {config}",
            found=f"{len(wrong)} tensors differ, first {wrong[0]}" + (f"; trained as {made}" if made else ""),
            fix=f"give weights of {type(network).__name__} as {config} builds it, or the --overlay of the training",
        )


def _trained_as(path: Path | None) -> str:
    """Return what the run or the bundle that the weights lie in calls their network; empty where nothing says."""
    if path is None:
        return ""
    places = {
        path.parent / "run.json": lambda content: str(content["settings"]["network"]).split("(")[0],
        path.parents[1 if len(path.parents) > 1 else 0] / "metadata.json": lambda content: str(content["name"]),
    }
    for place, name_in in places.items():
        try:
            return f"{name_in(json.loads(place.read_bytes()))} ({place})"
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""
