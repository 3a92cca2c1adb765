"""`explain`: one screen on one object."""

from __future__ import annotations

from pathlib import Path

from subscriber import config
from subscriber.compose_desk import desk
from subscriber.desk.explain import gather, tell
from subscriber.desk.words import readings

__all__ = ["explain_object"]


def explain_object(address: str, outbox: Path | None) -> int:
    """Print its story; 1 when neither the ledger nor the bucket knows it. Raises ConfigError."""
    with desk(config.environ(), outbox) as tools:
        story = gather(tools, readings(address, tools.source_bucket))
        for line in tell(story, tools, tools.clock()):
            print(line)
    return 0 if story.known else 1
