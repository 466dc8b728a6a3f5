"""Who may start where, and when: places on lanes, given fairly to those who wait for one."""

import asyncio
import functools
import time
from dataclasses import dataclass, field

from routing.breaker import Breaker
from routing.catalog import Replica
from routing.exceptions import QueueFull, Unavailable
from routing.fairness import FairQueue
from routing.lanes import Lane, LaneKey, lane_key
from routing.residency import Residency

# Whoever has model servers of their own did not mean the small embedded model to answer while those are only busy.
EMBEDDED_LAST = 3600.0
TICK_SECONDS = 0.25
CLOSE_ENOUGH = 0.05  # seconds of expected start that are not worth waiting for
AFFINITY = 0.1  # seconds a conversation's earlier lane is preferred by, plus a fifth of its first-token time


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``queue`` waiting requests a lane; ``wait`` seconds in the queue; ``outage`` seconds to wait for a probe."""

    queue: int = 64
    wait: float = 120.0
    outage: float = 10.0
    threshold: int = 3
    cooldown: float = 5.0


@dataclass(eq=False, slots=True, kw_only=True)
class Seat:
    """The right to run one request on a replica; given back with ``Admission.leave``.

    ``waited`` is the seconds in the queue, ``position`` how many stood there when it came, itself included.
    """

    replica: Replica
    lane: Lane
    waited: float
    position: int = 0


@dataclass(eq=False, kw_only=True)
class Waiter:
    replicas: tuple[Replica, ...]
    tenant: str
    weight: float
    affinity: LaneKey | None
    seat: "asyncio.Future[Seat]"
    position: int = 0
    since: float = field(default_factory=time.monotonic)

    @functools.cached_property
    def wants(self) -> tuple[tuple[LaneKey, int], ...]:
        """What it waits for, in a form that is quick to compare."""
        return tuple((lane_key(replica), replica.concurrency) for replica in self.replicas)


class Admission:
    """Belongs to one event loop; all its state is of this process."""

    def __init__(self, residency: Residency, limits: Limits) -> None:
        self.residency = residency
        self.limits = limits
        self.lanes: dict[LaneKey, Lane] = {}
        self.queue: FairQueue[Waiter] = FairQueue()
        self._tick: asyncio.TimerHandle | None = None

    def lane(self, replica: Replica) -> Lane:
        key = lane_key(replica)
        lane = self.lanes.get(key)
        if lane is None:
            breaker = Breaker(threshold=self.limits.threshold, cooldown=self.limits.cooldown)
            lane = self.lanes[key] = Lane(key=key, breaker=breaker)
        return lane

    async def enter(
        self, replicas: tuple[Replica, ...], *, tenant: str, weight: float = 1.0, affinity: LaneKey | None = None
    ) -> Seat:
        """Return a seat on one of ``replicas`` as soon as it is this tenant's turn.

        Raises QueueFull or Unavailable, both with how long to stay away.
        """
        for server in {replica.server.base_url: replica.server for replica in replicas}.values():
            await self.residency.refresh(server)
        loop = asyncio.get_running_loop()
        waiter = Waiter(replicas=replicas, tenant=tenant, weight=weight, affinity=affinity, seat=loop.create_future())
        if not self.queue and (replica := self._best(waiter, time.monotonic())):
            return self._take(waiter, replica)
        self._refuse_hopeless(waiter)
        self._make_room(waiter)
        return await self._wait(waiter)

    def leave(self, seat: Seat) -> None:
        seat.lane.in_flight -= 1
        self._dispatch()

    # --- waiting ---------------------------------------------------------------------------------

    async def _wait(self, waiter: Waiter) -> Seat:
        self._enqueue(waiter)
        self._dispatch()
        seat = None
        try:
            async with asyncio.timeout(self.limits.wait):
                seat = await waiter.seat
                return seat
        except TimeoutError as error:
            raise QueueFull(
                f"The request waited {self.limits.wait:g} s for a free model. Try again later, or ask for another one.",
                retry_after=self._expected_wait(waiter),
            ) from error
        finally:
            self._dequeue(waiter)
            granted = waiter.seat.done() and not waiter.seat.cancelled() and waiter.seat.exception() is None
            if seat is None and granted:
                self.leave(waiter.seat.result())  # it was given just as the client left or its time ran out

    def _enqueue(self, waiter: Waiter) -> None:
        self.queue.push(waiter, tenant=waiter.tenant, weight=waiter.weight)
        waiter.position = len(self.queue)
        for replica in waiter.replicas:
            self.lane(replica).waiting += 1

    def _dequeue(self, waiter: Waiter) -> None:
        self.queue.discard(waiter, tenant=waiter.tenant)
        for replica in waiter.replicas:
            self.lane(replica).waiting -= 1

    def _make_room(self, waiter: Waiter) -> None:
        """Raise QueueFull when there is no room, unless a tenant that crowds the queue can give way."""
        room = self.limits.queue * len({lane_key(replica) for replica in waiter.replicas})
        if min(self.lane(replica).waiting for replica in waiter.replicas) < room:
            return
        full = QueueFull(
            "Too many requests wait for this model already. Try again later, or ask for another one.",
            retry_after=self._expected_wait(waiter),
        )
        crowd = self.queue.crowding()
        if crowd is None or self.queue.count(crowd[0]) <= self.queue.count(waiter.tenant) + 1:
            raise full
        tenant, newest = crowd
        self.queue.discard(newest, tenant=tenant)
        if not newest.seat.done():
            newest.seat.set_exception(full)

    def _refuse_hopeless(self, waiter: Waiter) -> None:
        """Raise Unavailable when no replica will be tried again soon."""
        now = time.monotonic()
        soonest = min(self.lane(replica).breaker.seconds_until_probe(now) for replica in waiter.replicas)
        if soonest > self.limits.outage:
            raise Unavailable(
                "Every replica of this expert has failed several times in a row and is left alone for a while. "
                "Try again later.",
                retry_after=soonest,
            )

    def _expected_wait(self, waiter: Waiter) -> float:
        now = time.monotonic()
        return min(self.lane(replica).expected_start(replica, cold=False, now=now) for replica in waiter.replicas)

    # --- giving seats ----------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give what seats there are to those whose turn it is."""
        now = time.monotonic()
        chosen: dict[Waiter, Replica] = {}
        full: set[tuple[tuple[LaneKey, int], ...]] = set()  # most waiters want the same: one look does

        def fits(waiter: Waiter) -> bool:
            if waiter.seat.done() or waiter.wants in full:
                return False
            if not any(self.lane(replica).admits(replica, now) for replica in waiter.replicas):
                full.add(waiter.wants)
                return False
            replica = self._best(waiter, now)
            if replica:
                chosen[waiter] = replica
            return replica is not None

        while waiter := self.queue.pick(fits):
            waiter.seat.set_result(self._take(waiter, chosen[waiter]))
        if self.queue and self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK_SECONDS, self._on_tick)

    def _on_tick(self) -> None:
        # Breakers half open, rests end and patience grows with time alone.
        self._tick = None
        self._dispatch()

    def _take(self, waiter: Waiter, replica: Replica) -> Seat:
        lane, now = self.lane(replica), time.monotonic()
        lane.in_flight += 1
        lane.breaker.started(now)
        return Seat(replica=replica, lane=lane, waited=now - waiter.since, position=waiter.position)

    def _best(self, waiter: Waiter, now: float) -> Replica | None:
        """Return the replica to start on now, or None when waiting for a busy one is better."""
        scores = [(self._score(replica, waiter, now), replica) for replica in waiter.replicas]
        best = min(score for score, _ in scores)
        patience = CLOSE_ENOUGH + (now - waiter.since) / 2
        ready = [
            (score, place)
            for place, (score, replica) in enumerate(scores)
            if score <= best + patience and self.lane(replica).admits(replica, now)
        ]
        return waiter.replicas[min(ready)[1]] if ready else None

    def _score(self, replica: Replica, waiter: Waiter, now: float) -> float:
        lane = self.lane(replica)
        cold = self.residency.resident(replica) is False and not self.residency.loading(replica)
        score = lane.expected_start(replica, cold=cold, now=now)
        score += lane.total / 2 * lane.in_flight / max(1, replica.concurrency)  # shared compute makes each slower
        if lane.key == waiter.affinity:
            score -= AFFINITY + lane.first / 5
        return score + (EMBEDDED_LAST if replica.embedded and len(waiter.replicas) > 1 else 0.0)
