"""Which rule decides on an object without a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from subscriber.desk.rules import rule
from subscriber.model import ObjectInfo
from subscriber.notification import Selection
from subscriber.outputs import OutputLocation
from tests.claims import NOW

OURS = OutputLocation.parse("gs://out/texts")
CALL = ObjectInfo("in", "calls/a.wav", 1, 9, "application/octet-stream", created_at=NOW - timedelta(minutes=5))


@pytest.mark.parametrize(
    ("found", "selection", "location", "said"),
    [
        (CALL, Selection(), OURS, "Wanted (its name ends like audio or video). No notification of it"),
        (replace(CALL, name="a", content_type="audio/x"), Selection(), OURS, "Wanted (its content type is audio/x)"),
        (CALL, Selection(include=("x*", "*.WAV")), OURS, "Wanted (it matches '*.WAV' in INCLUDE)"),
        (CALL, Selection(include=("x*",)), OURS, "Ignored (not_included)"),
        (replace(CALL, name="a.txt"), Selection(), OURS, "Ignored (not_included)"),
        (replace(CALL, metadata={"transcribe": "skip"}), Selection(), OURS, "Ignored (skipped)"),
        (CALL, Selection(exclude=("b*", "calls/*")), OURS, "matches 'calls/*' in EXCLUDE"),
        (replace(CALL, bucket="out", name="texts/a.wav"), Selection(), OURS, "Ignored (own_output)"),
        (CALL, Selection(), OutputLocation.parse("gs://in"), "OUTPUT covers this whole bucket"),
        (replace(CALL, created_at=NOW - timedelta(days=20)), Selection(), OURS, "recorded dead (expired)"),
        (replace(CALL, created_at=None), Selection(), OURS, "No notification of it"),
    ],
)
def test_the_deciding_rule_is_named(
    found: ObjectInfo, selection: Selection, location: OutputLocation, said: str
) -> None:
    assert said in rule(found, selection, location, NOW, max_event_age_seconds=14 * 86_400)
