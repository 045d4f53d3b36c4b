"""The step between windows that a user asks for, in the form the bundle takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monai_isles.errors import IslesError


def chosen_step(
    config: Mapping[str, object], step: Sequence[int] | None, *, fast: bool = False, whole_slices: bool = False
) -> list[int] | None:
    """Return the step in voxels a window axis, None to leave it to the bundle.

    Args:
        config: the bundle's ids; ``step`` is its own, ``fast_step`` a coarser one whose cost its model card states.
        step: one number for all axes, or one an axis.
        fast: take ``fast_step``.
        whole_slices: one window is the whole slice, so there is no step.
    Raises:
        IslesError: ``E-INF-13`` a bundle without windows or without a coarser step, ``E-INF-14`` a wrong number of
            numbers, or a step beside ``fast``, ``E-INF-43`` either of them beside ``whole_slices``.
    Source: ours; ``tests/inference/test_step.py``.
    """
    if step is None and not fast:
        return None
    if whole_slices:
        raise IslesError(
            "E-INF-43",
            "whole slices have no step",
            where="--whole-slices",
            found="beside " + ("--fast" if fast else f"--step {' '.join(map(str, step))}"),
            fix="leave one of the two out",
        )
    own = config["step"] if "step" in config else None
    if own is None or (fast and "fast_step" not in config):
        raise IslesError(
            "E-INF-13",
            "this bundle has no other step" if own is not None else "this bundle does not predict by windows",
            where="--fast" if fast else "--step",
            found="no fast_step in its inference.json" if own is not None else "no step in its inference.json",
            fix="leave the option out" + (", or give --step" if own is not None else ""),
        )
    if fast and step is None:
        return list(config["fast_step"])
    if fast or len(step) not in (1, len(own)):
        raise IslesError(
            "E-INF-14",
            "the step does not fit the bundle",
            where="--step" + (" beside --fast" if fast else ""),
            found=f"{list(step)}; the bundle's own is {list(own)}",
            fix=f"give one number, or {len(own)}" + (", without --fast" if fast else ""),
        )
    return list(step) * (len(own) if len(step) == 1 else 1)


def require_ids(config: Mapping[str, object], given: Mapping[str, object], bundle: str) -> None:
    """Refuse settings that the bundle does not have, which would change nothing.

    Args:
        given: value by id, None for those not asked for.
    Raises:
        IslesError: ``E-INF-15``.
    """
    absent = [key for key, value in given.items() if value is not None and key not in config]
    if absent:
        raise IslesError(
            "E-INF-15",
            "the bundle has no such setting",
            where=bundle,
            found=f"asked for {', '.join(absent)}, which its inference.json does not have",
            fix="leave the option out",
        )
