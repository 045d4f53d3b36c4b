"""How many batches a process has of those that several share."""

from __future__ import annotations

from monai_isles.errors import IslesError


def batches_of(items: int, batch_size: int, rank: int) -> int:
    """Return how many batches of ``batch_size`` hold an item of process ``rank``: all, or all but the last."""
    full, rest = divmod(items, batch_size)
    return full + (rest > rank)


def require_enough(items: int, world_size: int, what: str) -> None:
    """Refuse to divide items among more processes than there are items (``E-SAMP-30``)."""
    if items < world_size:
        raise IslesError(
            "E-SAMP-30",
            f"fewer {what} than processes",
            where="the data loader",
            found=f"{items} {what} for {world_size} processes",
            fix="start fewer processes (torchrun --nproc_per_node)",
        )
