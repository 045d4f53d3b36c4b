"""Switch the sites of prediction dropout on for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import PredictionDropout


@contextmanager
def prediction_dropout(network: nn.Module, rate: float) -> Iterator[list[PredictionDropout]]:
    """Make ``network`` drop elements at its prediction sites, and only there, inside the ``with`` block; yield them.

    Batch normalisation and training dropout stay as they are: evaluate the network first.

    Args:
        rate: probability of dropping one element.
    Raises:
        IslesError: ``E-INF-01`` for a network without such sites or a rate outside [0, 1).
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3: rate 0.1 in the deepest levels.
    """
    sites = [module for module in network.modules() if isinstance(module, PredictionDropout)]
    if not sites or not 0.0 <= rate < 1.0:
        raise refused("E-INF-01", where=type(network).__name__, found=f"{len(sites)} dropout sites, rate {rate}")
    for site in sites:
        site.active, site.rate = True, rate
    try:
        yield sites
    finally:
        for site in sites:
            site.active, site.mask = False, None
