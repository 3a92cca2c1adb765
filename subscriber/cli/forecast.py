"""What a backfill would take, in lines: each figure with what it is made of."""

from __future__ import annotations

from collections.abc import Iterator

from subscriber.desk.estimate import Estimate, Means, Speed
from subscriber.desk.words import size, span

__all__ = ["forecast"]


def forecast(estimate: Estimate, means: Means, speed: Speed, per_minute: int) -> Iterator[str]:
    """Bytes, sound, cost and time."""
    publishing = estimate.count / per_minute * 60
    yield f"{'size':<9}  {size(estimate.size)}"
    yield f"{'sound':<9}  {_sound(estimate)}"
    if estimate.seconds is not None:
        working = estimate.seconds / speed.ratio
        yield f"{'cost':<9}  {_cost(estimate.seconds, means)}"
        yield f"{'work':<9}  {span(working)}, at {speed.ratio:.3g} s of sound a second ({speed.source})"
    yield f"{'publish':<9}  {span(publishing)}, at --rate {per_minute}"


def _sound(estimate: Estimate) -> str:
    told = estimate.probed - estimate.untold
    known = "unknown" if estimate.seconds is None else _length(estimate.seconds)
    made_of = f"the headers of {told} objects were read"
    if told < estimate.count:
        made_of += f", the other {estimate.count - told} are reckoned by their bytes: an estimate"
    dead = ", ".join(f"{count} {reason}" for reason, count in sorted(estimate.unreadable.items()))
    return f"{known}; {made_of}" + (f"; of those read would end dead: {dead}" if dead else "")


def _length(seconds: float) -> str:
    """In hours, as a bill has them, where there is one."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else span(seconds)


def _cost(seconds: float, means: Means) -> str:
    if means.usd_per_minute is None:
        return f"unknown: SUBSCRIBER_PRICE_USD_PER_MINUTE is not set, and {means.model} has no list price there"
    usd = seconds / 60 * means.usd_per_minute
    return f"${usd:,.{2 if usd >= 1 else 4}f}, at ${means.usd_per_minute:g} a minute ({means.model})"
