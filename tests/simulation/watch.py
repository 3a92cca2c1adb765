"""The promises of the blueprint, each looked at where it could be broken. A complaint names the one that is.

The law of this file: it judges by what happened outside the pods - commits, acks, objects, requests - and by what their
own claims and leases say. What it finds it notes, because a pod survives any exception; the history ends at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from subscriber.decisions import Refusal, first_epoch
from subscriber.errors import ClaimLost
from subscriber.model import Job, ObjectInfo, Outcome, Record, State
from subscriber.transcribe.asking import LOOK_AGAIN_SECONDS
from tests.simulation.clockwork import Host
from tests.simulation.promises import Violation
from tests.simulation.threads import at

if TYPE_CHECKING:
    from subscriber.transcribe.pool import Lane, SlotPool
    from tests.simulation.pod import Pod
    from tests.simulation.world import World

__all__ = ["Watch"]

ENDS = ("decide_completion", "decide_end", "decide_retry", "decide_release")
LEASE_SECONDS = 12
CLAIM_SECONDS = 30.0
GRACE_SECONDS = 8.0
HANDLING = 6.0
"""Seconds that pass at most between a call's trouble and what comes of it, beyond a lease's or a claim's length."""


STORING_SECONDS = 1.0
"""From an answer to its storing, when nothing goes wrong."""


class Watch:
    """Looks on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._owners: dict[str, Host] = {}
        self._ending: set[str] = set()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._told: set[tuple[Job, int]] = set()
        self._stored: dict[str, float] = {}
        self._granted_at: dict[tuple[str, str], float] = {}
        self._made_way: dict[str, Host] = {}
        self.found: Violation | None = None

    def complain(self, invariant: str, what: str) -> None:
        """Note the first one."""
        self.found = self.found or Violation(invariant, what)

    # Claims

    def look_at_claims(self) -> None:
        """After every step."""
        living = [(pod.host, pod.daemon) for pod in self._world.pods if pod.daemon and not pod.host.dead]
        all_held = [(host, held) for host, daemon in living for held in daemon.claims._held.values()]
        if len(all_held) < 2:
            return
        believers: dict[Job, str] = {}
        for host, held in all_held:
            claim = held.claim
            ends_at = held.renewed_at + claim.claim_seconds
            if held.lost or host.monotonic(self._world.clock.now) >= ends_at or claim.nonce in self._ending:
                continue
            if other := believers.get(claim.job):
                self.complain("one believer", f"{other} and {host.name} on {claim.job.name}")
            believers[claim.job] = host.name

    def transacts(self, host: Host, decide: Callable[..., Any]) -> None:
        """A pod begins a transaction: who ends his claim does not go on under it."""
        name, told = _asked(decide)
        if name == "decide_claim":
            self._owners[told["ask"].nonce] = host
        elif name in ENDS:
            self._ending.add(told["claim"].nonce)

    def asked_again(self, host: Host, found: Record | None, answer: object) -> None:
        """A decision was made upon the very record that this call had written before; ClaimLost is an answer, too."""
        denied = isinstance(answer, ClaimLost) or (isinstance(answer, Refusal) and answer.outcome is Outcome.BUSY)
        if found and denied:
            self.complain("own commit", f"{host.name} does not know epoch {found.epoch} for its own")

    def committed(self, host: Host, before: Record | None, after: Record, decide: Callable[..., Any]) -> None:
        """A record changes."""
        name, told = _asked(decide)
        now = at(self._world.clock.now)
        self._world.tell(
            f"{host.name} writes {after.name} #{after.generation}: {after.state}, epoch {after.epoch} ({name})"
        )
        granted = name == "decide_claim"
        if granted:
            self._granted_at[after.name, str(after.generation)] = self._world.clock.now
        epoch = before.epoch if before else first_epoch(after.created_at)
        if after.epoch != epoch + granted:
            self.complain("epochs grow", f"{epoch} became {after.epoch} by {name}")
        if before and before.state.final and not (name == "decide_announced" and after.state is before.state):
            self.complain("fence", f"{name} changed a record that was {before.state}")
        claim = told.get("claim")
        if claim and before and (claim.nonce, claim.epoch) != (before.nonce, before.epoch):
            self.complain("fence", f"epoch {claim.epoch} wrote upon epoch {before.epoch}")
        if granted and before and before.state is State.CLAIMED:
            if now < before.claim_ends_at:
                self.complain("no theft", f"{before.claim_ends_at - now} too early, by {host.name}")
            self._look_at_takeover(before)
        self._count_attempts(before, after, name)

    def _count_attempts(self, before: Record | None, after: Record, name: str) -> None:
        key = after.name, str(after.generation)
        more = after.attempts - (before.attempts if before else 0)
        self._counted[key] += more
        if more not in {0, 1} or self._counted[key] > self._failures[key]:
            self.complain("attempts", f"{name}: {self._counted[key]} of {self._failures[key]} failures: {after.reason}")

    def _look_at_takeover(self, before: Record) -> None:
        host = self._owners[before.nonce]
        pod = self._world.pod_of(host)
        if host.dead or not pod.daemon or self._world.disturbed(host, "firestore", CLAIM_SECONDS + HANDLING):
            return
        if any(held.claim.nonce == before.nonce and not held.lost for held in pod.daemon.claims.held()):
            self.complain("claim kept", f"{host.name} was well and let its claim on {before.name} end")

    def job_failed(self, label: str) -> None:
        """A failure that may cost the job an attempt."""
        self._failures[_job_of(label)] += 1

    # Messages

    def acked(self, host: Host, message_id: str, job: Job | None) -> None:
        """Pub/Sub hears that a message is settled."""
        self._world.tell(f"{host.name} acks message {message_id}")
        if job is None:
            return
        record = self._world.database.records.get(job)
        if record is None or not record.state.final:
            state = record.state if record else "unknown"
            self.complain("ack after end", f"{host.name} acked {job.name} #{job.generation}, which is {state}")
        elif (job, record.epoch) not in self._told:
            self.complain("told before ack", f"{host.name} acked {job.name} untold")

    def told(self, record: Record) -> None:
        """Listeners hear of an end."""
        self._told.add((Job(record.bucket, record.name, record.generation, record.output), record.epoch))

    def lease_ended(self, host: Host, message_id: str, ack_id: str) -> None:
        """A lease has ended that nobody gave back."""
        self._world.tell(f"the lease of message {message_id} ends")
        pod = self._world.pod_of(host)
        if host.dead or not pod.daemon or self._world.disturbed(host, "pubsub", LEASE_SECONDS + HANDLING):
            return
        if any(held.ack_id == ack_id for held in pod.daemon.leases.held()):
            self.complain("lease kept", f"{host.name} was well and let the lease of message {message_id} end")

    # Outputs

    def wrote(self, host: Host, before: ObjectInfo | None, info: ObjectInfo, data: bytes) -> None:
        """An object was written."""
        if info.name.startswith("out/.chunks/"):
            for label in json.loads(data)["request_ids"]:
                self._stored.setdefault(label, self._world.clock.now)
        elif info.bucket == "outbox":
            self._world.tell(f"written: {info.name}, generation and epoch {_version(info)}")
            if before and _version(before) > _version(info):
                self.complain("newer outputs stay", f"{info.name}: {_version(before)} replaced by {_version(info)}")
            self._look_at_set(host, info.name)

    def deleted(self, host: Host, name: str) -> None:
        """An object was deleted."""
        self._world.tell(f"deleted: {name}")
        if name.endswith(".json"):
            self._made_way[name] = host
        self._look_at_set(host, name)

    def _look_at_set(self, host: Host, changed: str) -> None:
        live = self._world.buckets.live
        name = changed.removesuffix(".txt").removesuffix(".error.json").removesuffix(".json") + ".json"
        found = live.get(("outbox", name))
        if not found:
            return
        if changed == name and self._made_way.get(name) is host:
            del self._made_way[name]
        for file, generation in json.loads(found[1])["outputs"].items():
            listed = live.get(("outbox", file))
            # Whoever took the old JSON away may meet one that a slower writer has placed meanwhile.
            newer = listed and _version(listed[0]) > _version(found[0]) and name in self._made_way
            if not listed or (listed[0].generation != int(generation) and not newer):
                self.complain("complete set", f"{name} lists {file}, which is not there")

    # Money

    def sent(self, host: Host, label: str) -> None:
        """A pod sends a chunk to the provider."""
        world = self._world
        self.look_at_claims()
        self._world.tell(f"{host.name} asks for {label!r}")
        for earlier in world.provider.requests[label]:
            if earlier.billed and not self._excused(earlier, host, label):
                self.complain("paid once", f"{host.name} pays again for {label!r} after {earlier}")
        if world.provider.in_flight[host] >= world.slots:
            self.complain("slots", f"{host.name} has {world.provider.in_flight[host]} requests on the wire already")
        if world.clock.now < world.provider.closed_until[host] - 1e-6:
            self.complain("gate", f"{host.name} sends before its 429 is over")

    def _excused(self, earlier: Any, host: Host, label: str) -> bool:
        if earlier.unanswered:
            return True
        if label in self._stored:
            # Whoever takes a job over while its chunk is on the wire may ask before he can know.
            unknown_since = max(self._granted_at[_job_of(label)], self._world.clock.now - LOOK_AGAIN_SECONDS - HANDLING)
            return earlier.host is not host and self._stored[label] > unknown_since
        if earlier.answered_at is None:
            return earlier.host is not host
        # Between its answer and its storing, a chunk is as good as on the wire.
        lived = min(self._world.clock.now, earlier.host.died_at) - earlier.answered_at
        in_trouble = self._world.wire.troubled_at[earlier.host, "gcs"] >= earlier.answered_at - STORING_SECONDS
        in_trouble |= "gcs" in self._world.pod_of(earlier.host).paused
        return lived < STORING_SECONDS or in_trouble or self._world.disturbed(earlier.host, "gcs", STORING_SECONDS)

    def chosen(self, pool: SlotPool, lane: Lane) -> None:
        """A slot went to a lane, which has counted it."""
        mine = lane.in_flight - 1, lane.age
        for other in pool._lanes:
            if other is not lane and other.waiting and (other.in_flight, other.age) < mine:
                self.complain("fairness", f"a job with {mine[0]} in flight before one with {other.in_flight}")

    # The end

    def lives_on(self, pod: Pod, stopped_at: float) -> None:
        """A pod got SIGTERM, and is still there."""
        took = self._world.clock.now - stopped_at
        if took > GRACE_SECONDS + 0.5 and not self._world.disturbed(pod.host, "any", took + HANDLING):
            self.complain("drain", f"{pod.host.name} took {took:.1f} s")

    def drained(self, pod: Pod, stopped_at: float) -> None:
        """A pod has ended because of its SIGTERM."""
        self.lives_on(pod, stopped_at)
        if self._world.disturbed(pod.host, "any", GRACE_SECONDS + HANDLING):
            return
        for label, requests in self._world.provider.requests.items():
            left = [one for one in requests if one.host is pod.host and not one.over and not one.unusual]
            if any(one.sent_at > stopped_at for one in left):
                self.complain("drain", f"{pod.host.name} leaves its request for {label!r} behind")

    def look_at_the_end(self) -> None:
        """The faults have stopped, and time enough has passed."""
        for message in self._world.subscription.waiting.values():
            self.complain("all settles", f"message {message.message.id} is left")
        for job in self._world.jobs:
            record = self._world.database.records.get(job)
            if record is None or not record.state.final:
                self.complain("all settles", f"{job.name} #{job.generation} is {record.state if record else 'unknown'}")
        for name in {job.name for job in self._world.jobs}:
            self._look_at_transcript(name)

    def _look_at_transcript(self, name: str) -> None:
        """The newest generation that was done has its transcript, whole."""
        records = [one for one in self._world.database.records.values() if one.name == name]
        done = [one.generation for one in records if one.state is State.DONE]
        found = self._world.buckets.live.get(("outbox", f"out/{name}.json"))
        # Whoever took it away for a newer generation died, and that generation was deleted before another took over.
        gone = [one.generation for one in records if one.state is State.GONE]
        made_way = f"out/{name}.json" in self._made_way and max(gone, default=0) > max(done, default=0)
        if done and not found and not made_way:
            self.complain("all settles", f"{name} is done and has no transcript")
        elif done and found:
            generation = json.loads(found[1])["source"]["generation"]
            text = json.loads(found[1])["text"]
            whole = " ".join(self._world.labels(name, int(generation)))
            if int(generation) < max(done) or text != whole:
                self.complain("all settles", f"the transcript of {name} #{max(done)} is {text!r} of #{generation}")


def _asked(decide: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    """Which decision, and what it was told."""
    function = getattr(decide, "func", decide)
    return function.__name__, getattr(decide, "keywords", {})


def _job_of(label: str) -> tuple[str, str]:
    name, generation, *_ = label.split(" ")
    return name, generation


def _version(info: ObjectInfo) -> tuple[int, int]:
    return int(info.metadata["source-generation"]), int(info.metadata["epoch"])
