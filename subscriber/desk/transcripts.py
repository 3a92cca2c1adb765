"""Whether the files of a transcript stand where they should, and are of the generation that they should be of.

The law of this file: what a file is of is said by its own metadata, never by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from subscriber.desk.words import shown
from subscriber.model import Job, ObjectInfo
from subscriber.outputs import output_version
from subscriber.ports import Listing

__all__ = ["fault", "found_among", "place_of"]

STRIDE = 1000
"""How many other objects are passed over on the way from one name to the next: one page of Cloud Storage's lists."""


def fault(found: ObjectInfo, job: Job) -> str | None:
    """Why this is no output of the job's generation, in words; None where it is one."""
    version = output_version(found)
    if version is None:
        return "not ours: its metadata names no source"
    if (version.bucket, version.name) != (job.bucket, job.name):
        return f"of another source: {shown(f'gs://{version.bucket}/{version.name}')}"
    if version.generation != job.generation:
        return f"of generation {version.generation}"
    return None


def place_of(uri: str) -> tuple[str, str]:
    """Bucket and name of an output."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def found_among(objects: Listing, uris: Iterable[str]) -> dict[str, ObjectInfo]:
    """Those of these objects that there are, by their URIs: neighbours come in one call, and each costs one at most.

    Raises as `Listing.below` does.
    """
    places = groupby(sorted(map(place_of, uris)), key=lambda place: place[0])
    return {
        f"gs://{found.bucket}/{found.name}": found
        for bucket, named in places
        for found in _found(objects, bucket, [name for _, name in named])
    }


def _found(objects: Listing, bucket: str, names: list[str]) -> Iterator[ObjectInfo]:
    """Goes through names and objects, both in order, side by side; where too many others lie between, it jumps."""
    listed = objects.below(bucket, "", names[0])
    ahead = next(listed, None)
    for name in names:
        if ahead and ahead.name < name:
            ahead = next((one for one in islice(listed, STRIDE) if one.name >= name), None)
            if ahead is None:
                listed = objects.below(bucket, "", name)
                ahead = next(listed, None)
        if ahead and ahead.name == name:
            yield ahead
