"""Arguments and options that several commands have. Nothing is imported here that `--help` does not need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subscriber.model import State

__all__ = ["ADDRESS", "Came", "Object", "Outbox", "Place", "Prefix", "Reason", "Since", "States"]

ADDRESS = "gs://BUCKET/NAME[#GENERATION]"

Object = Annotated[str, typer.Argument(metavar=ADDRESS, help="The source object, or one generation of it.")]
Outbox = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Ask the ledger of `subscriber local` in this OUTBOX instead."),
]
States = Annotated[list[State] | None, typer.Option(help="Only these; may be given several times.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason, such as exhausted or undecodable.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="First claimed since: 90m, 36h, 7d, or an ISO 8601 date or time.")
]
Prefix = Annotated[
    str | None, typer.Option(metavar="gs://BUCKET[/PREFIX]", help="Only objects below it, sorted by name.")
]
Place = Annotated[str, typer.Argument(metavar="gs://BUCKET[/PREFIX]", help="Objects whose names begin so.")]
Came = Annotated[
    str | None, typer.Option(metavar="TIME", help="Objects that came since: 90m, 36h, 7d, or an ISO 8601 time.")
]
