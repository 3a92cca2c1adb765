"""What must hold when the hand rests: a complete transcript or a reason for each, nothing left, little paid again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.files import Upload
from tests.world import World

__all__ = ["Account", "account"]


@dataclass
class Account:
    """`wrong` is empty when all is well; the figures are what servers counted."""

    wrong: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    chunks: int = 0
    requests: int = 0
    repaid: int = 0

    def must(self, true: bool, what: str) -> None:
        """Note what does not hold."""
        if not true:
            self.wrong.append(what)


def account(
    world: World, live: Mapping[str, tuple[int, Upload]], asked: Mapping[str, int], paid: Mapping[str, int]
) -> Account:
    """Compare what stands in buckets and ledger with the uploads.

    `live`: for each name the generation that counts, and its upload. `asked` and `paid`: how often the provider got and
    transcribed each chunk, by the SHA-256 of what it was sent.
    """
    found = Account()
    _records(found, world, live)
    _outputs(found, world, live)
    known = {one for _, upload in live.values() for one in upload.chunks}
    found.chunks, found.requests = len(known), sum(asked.values())
    found.repaid = sum(times - 1 for times in paid.values() if times > 1)
    found.must(known <= paid.keys(), "every chunk of a live recording was asked for")
    return found


def _records(found: Account, world: World, live: Mapping[str, tuple[int, Upload]]) -> None:
    records = {(str(one["name"]), one["generation"]): one for one in world.records().values()}
    found.states.update(str(one["state"]) for one in records.values())
    for (name, generation), record in records.items():
        at_last, upload = live[name]
        if generation == at_last:
            wanted = {"dead"} if upload.text is None else {"done"}
        else:
            wanted = {"done", "gone", "superseded"}
        found.must(record["state"] in wanted, f"{name}#{generation} is {record['state']}: {record['reason']}")
        found.must(bool(record["reason"]) == (record["state"] != "done"), f"{name} has a reason unless it is done")
    found.must({name: one for name, (one, _) in live.items()}.items() <= set(records), "every upload has its record")


def _outputs(found: Account, world: World, live: Mapping[str, tuple[int, Upload]]) -> None:
    outputs = {name: data for name, data in world.outputs().items() if not name.startswith(".chunks/")}
    wanted = set()
    for name, (generation, upload) in live.items():
        if upload.text is None:
            wanted.add(f"{name}.error.json")
            continue
        wanted |= {f"{name}.json", f"{name}.txt"}
        transcript = json.loads(outputs.get(f"{name}.json", b"{}"))
        found.must(transcript.get("text") == upload.text, f"{name}: {transcript.get('text')!r}, not {upload.text!r}")
        source = str(transcript.get("source", {}).get("generation"))
        found.must(source == str(generation), f"{name} is of generation {source}, not {generation}")
    found.must(outputs.keys() == wanted, f"too many or too few outputs: {sorted(outputs.keys() ^ wanted)}")
