"""`explain`: one screen on one object, or one line of JSON."""

from __future__ import annotations

from pathlib import Path

from subscriber import config
from subscriber.compose_desk import desk
from subscriber.desk.explain import document, gather, tell
from subscriber.desk.listing import json_line
from subscriber.desk.words import readings

__all__ = ["explain_object"]


def explain_object(address: str, outbox: Path | None, *, wants_json: bool) -> int:
    """Print its story; 1 when neither the ledger nor the bucket knows it. Raises ConfigError."""
    with desk(config.environ(), outbox) as tools:
        story = gather(tools, readings(address, tools.source_bucket))
        if wants_json:
            print(json_line(document(story, tools, tools.clock())))
        else:
            print(*tell(story, tools, tools.clock()), sep="\n")
    return 0 if story.known else 1
