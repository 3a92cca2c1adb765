"""What is uploaded during a run, and what must have become of it at the end."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.sound import chunks, wav

__all__ = ["CHUNK_SECONDS", "Upload", "uploads"]

CHUNK_SECONDS = 10
"""The shortest that the setting takes: many chunks in little sound."""

SHORTEST_SECONDS, LONGEST_SECONDS = 12.0, 45.0


@dataclass(frozen=True)
class Upload:
    """One object; `text` is all that its transcript must hold, None where it must end dead."""

    name: str
    data: bytes
    text: str | None

    @property
    def chunks(self) -> list[str]:
        """SHA-256 of what is sent to the provider."""
        return [] if self.text is None else chunks(self.data, CHUNK_SECONDS)


def uploads(chance: random.Random, number: int) -> list[Upload]:
    """Recordings of several chunks; among any eight one is garbage, one a copy, one replaces an earlier one."""
    made: list[Upload] = []
    for index in range(number):
        match index % 8:
            case 3:
                made.append(Upload(f"{index}.mp3", f"no recording, but {index}".encode(), None))
            case 5:
                made.append(Upload(f"copy/{index}.wav", made[index - 1].data, made[index - 1].text))
            case 7:
                made.append(_recording(made[index - 1].name, f"{index}", chance))
            case _:
                made.append(_recording(f"{index}.wav", f"{index}", chance))
    return made


def _recording(name: str, voice: str, chance: random.Random) -> Upload:
    data = wav(f"{voice}/{chance.random()}", chance.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
    return Upload(name, data, " ".join(f"speech {one[:12]}" for one in chunks(data, CHUNK_SECONDS)))
