"""Which store counts, and what happens while Redis is away."""

import asyncio
import functools
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.conf import settings

from gateway.limits.claims import Claim, Spent, Standing, Taken
from gateway.limits.local import LocalStore
from gateway.limits.refusals import Uncounted
from gateway.limits.scripts import LEASE_MS
from gateway.limits.shared import SharedStore
from gateway.redisclient import Contact, RedisDown

ANSWER_SECONDS = 0.3
"""How long Redis may take to answer; those who ask at the moment it goes away wait so long, and nobody after them."""
PROBE_SECONDS = 1.0
RENEW_SECONDS = LEASE_MS / 3000


class WhenDown(StrEnum):
    """What a process does while Redis does not answer."""

    LOCAL = "local"
    REFUSE = "refuse"


_MEANWHILE = {
    WhenDown.LOCAL: "each process counts limits for itself",
    WhenDown.REFUSE: "requests of limited API keys are refused",
}


@dataclass(frozen=True, slots=True)
class Holding:
    """What was granted under a lease, and by whom."""

    taken: Taken
    lease: str
    is_shared: bool

    @property
    def returnable(self) -> tuple[Standing, ...]:
        if not self.taken.is_granted:
            return ()
        return tuple(standing for standing in self.taken.standings if standing.is_returnable)


class Limiter:
    """``shared`` is None where there is no Redis."""

    def __init__(self, *, shared: SharedStore | None = None, when_down: WhenDown = WhenDown.LOCAL) -> None:
        self._local = LocalStore()
        self._shared = shared
        self._when_down = when_down
        self._redis = Contact("limits", meanwhile=_MEANWHILE[when_down])
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count()

    @property
    def state(self) -> str | None:
        """How Redis is, in words; None where there is none."""
        return self._redis.state if self._shared else None

    # --- for coroutines --------------------------------------------------------------------------------

    async def take(self, claims: Sequence[Claim]) -> Holding:
        """Take all of ``claims`` or none; raises Uncounted."""
        lease = self._new_lease()
        if self._shared and not self._redis.is_lost:
            try:
                return Holding(await self._shared.take(claims, lease), lease, is_shared=True)
            except RedisDown as error:
                self._redis.lost(error)
        return self._taken_here(claims, lease)

    def settle(self, holding: Holding, spent: Spent | None = None) -> "asyncio.Future[Any] | None":
        """Give back what was granted, but for what was ``spent``.

        It is done in any case; who wants to know when waits for the future, which never fails.
        """
        if not (held := holding.returnable):
            return None
        if not holding.is_shared or self._shared is None:
            self._local.settle(held, holding.lease, spent)
            return None
        return asyncio.ensure_future(self._settled(self._shared.settle(held, holding.lease, spent)))

    async def _settled(self, asked: "asyncio.Future[Any]") -> None:
        try:
            await asked
        except RedisDown as error:
            # Leases end by themselves, and what was spent comes back from the sums.
            self._redis.lost(error)

    async def tend(self) -> None:
        """Renew the leases of running requests, and look for a Redis that is away, for ever."""
        renewed_at = 0.0
        loop = asyncio.get_running_loop()
        while self._shared:
            await asyncio.sleep(PROBE_SECONDS)
            is_well = not self._redis.is_lost and not self._shared.is_unsure
            if is_well and loop.time() - renewed_at < RENEW_SECONDS:
                continue
            renewed_at = loop.time()
            try:
                await self._shared.renew()
            except RedisDown as error:
                self._redis.lost(error)
            else:
                self._redis.found()

    async def aclose(self) -> None:
        if self._shared:
            await self._shared.aclose()

    # --- for threads -----------------------------------------------------------------------------------

    def take_now(self, claims: Sequence[Claim]) -> Holding:
        """Do what take does, in a thread without an event loop."""
        lease = self._new_lease()
        if self._shared and not self._redis.is_lost:
            try:
                return Holding(self._shared.take_now(claims, lease), lease, is_shared=True)
            except RedisDown as error:
                self._redis.lost(error)
        return self._taken_here(claims, lease)

    def settle_now(self, holding: Holding) -> None:
        """Give back everything, in a thread without an event loop."""
        if not (held := holding.returnable):
            return
        if not holding.is_shared or self._shared is None:
            self._local.settle(held, holding.lease, None)
            return
        try:
            self._shared.settle_now(held, holding.lease, None)
        except RedisDown as error:
            self._redis.lost(error)

    def _new_lease(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    # --- while Redis is away -----------------------------------------------------------------------------

    def _taken_here(self, claims: Sequence[Claim], lease: str) -> Holding:
        if self._shared and self._when_down is WhenDown.REFUSE:
            raise Uncounted(PROBE_SECONDS)
        return Holding(self._local.take(claims, lease), lease, is_shared=False)


@functools.cache
def shared_limiter() -> Limiter:
    """Return the process's limiter, as the settings want it."""
    url = settings.REDIS_URL
    shared = SharedStore(url, seconds=ANSWER_SECONDS) if url else None
    return Limiter(shared=shared, when_down=WhenDown(settings.REDIS_DOWN))


async def tend_limits() -> None:
    """Keep what this process's requests hold in Redis, for ever."""
    await shared_limiter().tend()


async def close_limits() -> None:
    await shared_limiter().aclose()
