"""One history's world: the clock, the neighbours, the pods, whoever looks on, and what is told of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from subscriber.model import Job
from tests.simulation.bucket import Buckets
from tests.simulation.clockwork import Clockwork, Host
from tests.simulation.ledger import Database
from tests.simulation.operator import Operator
from tests.simulation.pod import Pod
from tests.simulation.provider import DOUBTFUL, Provider
from tests.simulation.subscription import Subscription
from tests.simulation.threads import live_by
from tests.simulation.watch import Watch
from tests.simulation.wire import Wire

__all__ = ["World"]

RESTART_SECONDS = 1.0


class World:
    """Everything that outlives a pod."""

    def __init__(self, seed: int, slots: int, *, telling: bool) -> None:
        self.clock = Clockwork()
        self.chance = Random(seed)  # noqa: S311 - a history must come again
        self.slots = slots
        self.lines: list[str] | None = [] if telling else None
        live_by(self.clock, Random(seed), _Log(self))  # noqa: S311 - as above
        self.watch = Watch(self)
        self.wire = Wire(self)
        self.database = Database(self)
        self.subscription = Subscription(self)
        self.buckets = Buckets(self)
        self.provider = Provider(self)
        self.pods: list[Pod] = []
        self.jobs: list[Job] = []
        self.ambushes: dict[tuple[str, str, int], Callable[[], object]] = {}
        """What befalls a pod, by its name, a neighbour and the number of its call there."""
        self.operator = Operator(self, seed)
        self._disturbed_at: dict[Host, float] = {}
        self._chunks: dict[tuple[str, int], list[str]] = {}

    def tell(self, what: str) -> None:
        """One more line of the history."""
        if self.lines is not None:
            self.lines.append(f"{self.clock.now:8.3f}  {what}")

    # Sources

    def upload(self, name: str, chunks: int, *, doubtful: bool = False) -> Job:
        """A new generation of a recording, and its notification; one chunk of a `doubtful` one is asked in halves."""
        before = self.buckets.stat("inbox", name)
        generation = before.generation if before else 0
        info = self.buckets.write(None, "inbox", name, b"", "audio/wav", {}, generation)
        labels = [f"{name} {info.generation} {index}" for index in range(chunks)]
        sound = "\n".join([*labels[:-1], labels[-1] + DOUBTFUL * doubtful]).encode()
        self.buckets.live["inbox", name] = replace(info, size=len(sound)), sound
        self._chunks[name, info.generation] = labels
        job = Job("inbox", name, info.generation, "gs://outbox/out")
        self.jobs.append(job)
        for _ in range(self.chance.choice((1, 1, 1, 1, 2))):
            self.notify(job)
        return job

    def notify(self, job: Job) -> None:
        """Cloud Storage tells of it, which may happen more than once."""
        about = {"bucketId": job.bucket, "objectId": job.name, "objectGeneration": str(job.generation)}
        self.subscription.publish({"eventType": "OBJECT_FINALIZE", **about}, job)

    def labels(self, name: str, generation: int) -> list[str]:
        """The words of all chunks of one generation."""
        return self._chunks[name, generation]

    # Pods

    def start_pod(self, name: str) -> Pod:
        """A process begins, with clocks of its own."""
        skew = self.chance.choice((0.0, -3600.0, 0.7, 3600.0))
        host = Host(name, self.chance.uniform(-1e5, 0.0), skew)
        self.tell(f"{name} starts; its clock is {skew:+g} s off")
        self.pods.append(Pod(self, host))
        return self.pods[-1]

    def pod_of(self, host: Host) -> Pod:
        """The process."""
        return next(pod for pod in self.pods if pod.host is host)

    def newest(self, name: str) -> Pod:
        """The process that bears this name now."""
        return next(pod for pod in reversed(self.pods) if pod.host.name == name)

    def called(self, host: Host, neighbour: str) -> None:
        """A pod makes a call: the moment at which something may befall it."""
        if not self.ambushes:
            return
        calls = self.pod_of(host).calls
        calls[neighbour] += 1
        if ambush := self.ambushes.pop((host.name, neighbour, calls[neighbour]), None):
            ambush()

    def kill(self, name: str) -> None:
        """SIGKILL; another one starts in its place."""
        pod = self.newest(name)
        if not pod.host.dead:
            self.tell(f"{name} is killed")
            if pod.stopped_at is not None:
                self.watch.lives_on(pod, pod.stopped_at)
            pod.host.die(self.clock.now)
        self.clock.after(RESTART_SECONDS, lambda: self.revive(name))

    def terminate(self, name: str) -> None:
        """SIGTERM; another one starts in its place."""
        pod = self.newest(name)
        if not pod.host.dead and not pod.stopped_at:
            self.tell(f"{name} gets SIGTERM")
            pod.stop()
        self.clock.after(RESTART_SECONDS + 12.0, lambda: self.kill(name))

    def revive(self, name: str) -> None:
        """See that there is a process of this name."""
        if self.newest(name).host.dead:
            self.start_pod(name)

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        host = self.newest(name).host
        self.tell(f"{name} is stopped for {seconds:.1f} s")
        host.frozen = True
        self._disturbed_at[host] = self.clock.now + seconds
        self.clock.after(seconds, lambda: self.thaw(host))

    def thaw(self, host: Host) -> None:
        """SIGCONT."""
        self.tell(f"{host.name} goes on")
        self._disturbed_at[host] = self.clock.now
        self.clock.thaw(host)

    def disturbed(self, host: Host, neighbour: str, within_seconds: float) -> bool:
        """Whether this pod was stopped, or could not reach the neighbour, so short a time ago."""
        neighbours = ("firestore", "gcs", "pubsub", "whisper") if neighbour == "any" else (neighbour,)
        stopped = self.clock.now - self._disturbed_at.get(host, float("-inf")) <= within_seconds
        return stopped or any(self.wire.trouble(host, one, within_seconds) for one in neighbours)


class _Log:
    """The daemon's own lines become lines of the history."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, level: str) -> Any:
        return self._write if self._world.lines is not None else _nothing

    def _write(self, event: str, **fields: object) -> None:
        running = self._world.clock.running
        told = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        self._world.tell(f"{running.host.name if running else '?'} says {event} {told}")


def _nothing(*_: object, **__: object) -> None: ...
