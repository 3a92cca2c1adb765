"""Percentiles and exponents: pure, so that tests hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["exponent", "ideal_seconds", "percentile"]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of them do not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ideal_seconds(requests: int, slots: int, latency: float) -> float:
    """The shortest time in which so many requests can be answered: full rounds of all slots."""
    return math.ceil(requests / slots) * latency


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> float:
    """How a figure grows with a size, as the power that fits best (least squares on logarithms): 1 is linear.

    Raises ValueError for fewer than two different sizes, or a size or figure that is not above 0.
    """
    if min([*sizes, *figures], default=0.0) <= 0:
        raise ValueError("logarithms need figures above 0")
    across, up = [math.log(size) for size in sizes], [math.log(figure) for figure in figures]
    mean_across, mean_up = sum(across) / len(across), sum(up) / len(up)
    width = sum((x - mean_across) ** 2 for x in across)
    if not width:
        raise ValueError("one size has no exponent")
    return sum((x - mean_across) * (y - mean_up) for x, y in zip(across, up, strict=True)) / width
