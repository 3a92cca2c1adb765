"""A subscription as Pub/Sub's are: leases, redelivery in no order, duplicates, acks that get lost or come too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from subscriber.model import Delivery, Job, Message
from tests.simulation.clockwork import Host
from tests.simulation.threads import Condition, at

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["PodsSource", "Subscription"]

NAME = "projects/project/subscriptions/uploads"
FIRST_LEASE_SECONDS = 10.0
POLL_SECONDS = 5.0


@dataclass
class Waiting:
    """A message that nobody has acked. `ack_id` is that of its newest delivery."""

    message: Message
    job: Job | None
    ack_id: str = ""
    holder: Host | None = None
    leased_until: float = 0.0


class Subscription:
    """What waits, by message id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = count(1)
        self._deliveries = count(1)
        self._by_ack_id: dict[str, Waiting] = {}
        self.waiting: dict[str, Waiting] = {}
        self.arrived = Condition()
        self.repeats = 0.0
        """Share of the deliveries that leave their message where it is, for somebody else as well."""
        self.lost_acks = 0.0
        """Share of the acks that are answered and forgotten: they are best effort."""

    def publish(self, attributes: dict[str, str], job: Job | None) -> None:
        """One more message; `job` is what it asks for, if anything."""
        number = str(next(self._numbers))
        message = Message(number, attributes, b"", at(self._world.clock.now))
        self.waiting[number] = Waiting(message, job)
        self._world.tell(f"message {number}: {job.name if job else 'nothing'} #{job.generation if job else 0}")
        self.arrived.notify_all()

    def available(self) -> bool:
        """Whether a pull would bring anything."""
        return any(one.leased_until <= self._world.clock.now for one in self.waiting.values())

    def pull(self, host: Host, free: int) -> list[Delivery]:
        """Lease what is free, in any order."""
        chance, now = self._world.chance, self._world.clock.now
        free_ones = [one for one in self.waiting.values() if one.leased_until <= now]
        chance.shuffle(free_ones)
        return [self._deliver(one, host) for one in free_ones[:free]]

    def extend(self, ack_ids: Sequence[str], seconds: int) -> None:
        """Leases of older deliveries are nobody's any more."""
        for ack_id in ack_ids:
            one = self._by_ack_id.get(ack_id)
            if one and one.ack_id == ack_id and one.message.id in self.waiting:
                self._lease(one, seconds)

    def ack(self, host: Host, ack_ids: Sequence[str]) -> None:
        """Settled, also by an older delivery's id."""
        for ack_id in ack_ids:
            one = self._by_ack_id[ack_id]
            self._world.watch.acked(host, one.message, one.job)
            if self._world.chance.random() >= self.lost_acks:
                self.waiting.pop(one.message.id, None)

    def _deliver(self, one: Waiting, host: Host) -> Delivery:
        ack_id = f"ack {next(self._deliveries)}"
        self._by_ack_id[ack_id] = one
        if self._world.chance.random() >= self.repeats:
            one.ack_id, one.holder = ack_id, host
            self._lease(one, FIRST_LEASE_SECONDS)
        return Delivery(one.message, NAME, ack_id)

    def _lease(self, one: Waiting, seconds: float) -> None:
        one.leased_until = self._world.clock.now + seconds
        self._world.clock.after(seconds, partial(self._end_lease, one, one.ack_id))

    def _end_lease(self, one: Waiting, ack_id: str) -> None:
        if one.leased_until <= self._world.clock.now and one.message.id in self.waiting:
            if one.holder and ack_id == one.ack_id:
                self._world.watch.lease_ended(one.holder, one.message.id, ack_id)
            self.arrived.notify_all()


class PodsSource:
    """`ports.Source` as one pod reaches it."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def check(self) -> None:
        self._world.wire.call("pubsub", lambda: None)

    def pull(self, free: int) -> Sequence[Delivery]:
        subscription = self._world.subscription
        if not subscription.available():
            subscription.arrived.wait(POLL_SECONDS)
        if not subscription.available():
            return []
        return self._world.wire.call("pubsub", partial(subscription.pull, self._host, free))

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:  # noqa: ARG002 - there is one
        self._world.wire.call("pubsub", partial(self._world.subscription.extend, list(ack_ids), seconds))

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:  # noqa: ARG002 - there is one
        self._world.wire.call("pubsub", partial(self._world.subscription.ack, self._host, list(ack_ids)))

    def finished(self) -> bool:
        return False
