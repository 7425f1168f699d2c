"""Running metrics of one update: means over tokens, peaks and totals over all its chunks, of every rank.

Values stay on their device, without gradient, until they are read: a metric costs no wait for the device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from grpo.parallel.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class Tally:
    """Collects metrics from the chunks of an update.

    Args:
        optimiser_steps: batches of the update; what `total` collects is averaged over them.
    """

    def __init__(self, optimiser_steps: int = 1) -> None:
        self._optimiser_steps = optimiser_steps
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._peaks: dict[str, Tensor] = {}
        self._totals: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor, weights: Tensor | None = None) -> None:
        """Takes values [T] into the mean called `name`, with weights [T] (1 each when left out)."""
        if not values.numel():
            return
        values = values.detach().double()
        weights = values.new_ones(values.shape) if weights is None else weights.detach().double()
        total, weight = (values * weights).sum(), weights.sum()
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._weights[name] = self._weights[name] + weight if name in self._weights else weight

    def peak(self, name: str, values: Tensor) -> None:
        """Takes values [T] into the maximum called `name`."""
        if not values.numel():
            return
        highest = values.detach().max()
        self._peaks[name] = self._peaks[name].maximum(highest) if name in self._peaks else highest

    def total(self, name: str, value: Tensor) -> None:
        """Takes a scalar into the sum called `name`, of which the mean over optimiser steps is reported."""
        value = value.detach().double()
        self._totals[name] = self._totals[name] + value if name in self._totals else value

    def values(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Every metric that some rank has data of, by name. A mean whose weights sum to 0 is left out."""
        own = [
            {name: float(value) for name, value in values.items()}
            for values in (self._sums, self._weights, self._peaks, self._totals)
        ]
        sums, weights, peaks, totals = (_by_name(parts) for parts in zip(*ranks.exchange(own), strict=True))
        found = {name: sum(sums[name]) / weight for name in sums if (weight := sum(weights[name]))}
        found.update({name: max(highest) for name, highest in peaks.items()})
        found.update({name: sum(total) / self._optimiser_steps for name, total in totals.items()})
        return found


def _by_name(parts: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Values of each name, of the ranks that have one."""
    found: dict[str, list[float]] = defaultdict(list)
    for part in parts:
        for name, value in part.items():
            found[name].append(value)
    return found
