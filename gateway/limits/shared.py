"""Limits counted in Redis, together with all other processes: each call one trip and one step."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gateway.limits.claims import Claim, Spent, Standing, Taken
from gateway.limits.line import Line
from gateway.limits.scripts import (
    OWN_CLOCK,
    Script,
    renew_arguments,
    settle_arguments,
    take_arguments,
    taken,
)
from gateway.redisclient import RedisDown, blocking_client

if TYPE_CHECKING:
    from redis import Redis

Held = tuple[Standing, ...]


class SharedStore:
    """``clock`` is for tests; otherwise all go by Redis' own. ``seconds`` is how long Redis may take to answer."""

    def __init__(self, url: str, *, seconds: float, clock: Callable[[], int] | None = None) -> None:
        self._url = url
        self._seconds = seconds
        self._now: Callable[[], str | int] = clock or (lambda: OWN_CLOCK)
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}
        self._client: Redis | None = None
        self._held: dict[str, Held] = {}
        self._unsure: dict[str, Held] = {}  # what Redis may hold for nobody, as it did not answer
        self._lock = threading.Lock()

    @property
    def is_unsure(self) -> bool:
        """Whether Redis may hold something for nobody, which the next ``renew`` gives back."""
        return bool(self._unsure)

    # --- for coroutines --------------------------------------------------------------------------------

    async def take(self, claims: Sequence[Claim], lease: str) -> Taken:
        """Take all of ``claims`` for ``lease``, or none; raises RedisDown."""
        asked = self._line().submit(Script.TAKE, *take_arguments(claims, lease, self._now()))
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            # It is on its way: whoever asked has left, and what was granted goes back.
            asked.add_done_callback(lambda done: self._took_for_nobody(done, claims, lease))
            raise
        except RedisDown:
            self._may_hold(_as_asked(claims), lease)
            raise
        return self._took(taken(claims, answer), lease)

    def settle(self, held: Held, lease: str, spent: Spent | None) -> "asyncio.Future[Any]":
        """Give back what was granted to ``lease``, but for what it ``spent``; None: nothing came of it.

        It is sent whether or not anybody waits for the future, which has RedisDown where it could not be.
        """
        self._let_go(lease)
        asked = self._line().submit(Script.SETTLE, *settle_arguments(held, lease, spent, self._now()))
        asked.add_done_callback(lambda done: self._settled(done, held, lease))
        return asked

    async def renew(self) -> None:
        """Have the leases of this process last on, and end those that Redis may hold for nobody.

        Raises RedisDown, also where Redis just does not answer.
        """
        line = self._line()
        with self._lock:
            everything, unsure = dict(self._held), dict(self._unsure)
        asked = [
            line.submit(Script.RENEW, *renew_arguments(held, lease, self._now())) for lease, held in everything.items()
        ]
        asked += [
            line.submit(Script.SETTLE, *settle_arguments(held, lease, None, self._now()))
            for lease, held in unsure.items()
        ]
        await asyncio.gather(line.submit(Script.SETTLE, *settle_arguments((), "-", None, self._now())), *asked)
        with self._lock:
            for lease in unsure:
                self._unsure.pop(lease, None)
        # Those that a thread let go meanwhile may be back again.
        for lease in everything.keys() - self._held.keys():
            line.submit(Script.SETTLE, *settle_arguments(everything[lease], lease, None, self._now()))

    async def aclose(self) -> None:
        """Close the connections of this event loop and of threads."""
        if line := self._lines.pop(asyncio.get_running_loop(), None):
            await line.aclose()
        if self._client:
            self._client.close()
            self._client = None

    # --- for threads -----------------------------------------------------------------------------------

    def take_now(self, claims: Sequence[Claim], lease: str) -> Taken:
        """Do what take does, in a thread without an event loop."""
        try:
            answer = self._run(Script.TAKE, *take_arguments(claims, lease, self._now()))
        except RedisDown:
            self._may_hold(_as_asked(claims), lease)
            raise
        return self._took(taken(claims, answer), lease)

    def settle_now(self, held: Held, lease: str, spent: Spent | None) -> None:
        """Do what settle does, in a thread without an event loop; raises RedisDown."""
        self._let_go(lease)
        try:
            self._run(Script.SETTLE, *settle_arguments(held, lease, spent, self._now()))
        except RedisDown:
            self._may_hold(held, lease)
            raise

    def _run(self, script: Script, keys: Sequence[str], words: str) -> Any:
        from redis.exceptions import NoScriptError, RedisError

        try:
            client = self._connected()
            try:
                return client.evalsha(script.digest, len(keys), *keys, words)
            except NoScriptError:
                return client.eval(script.text, len(keys), *keys, words)
        except (RedisError, OSError, ValueError) as error:  # the last of an address that is none
            raise RedisDown(f"{type(error).__name__}: {error}") from error

    def _connected(self) -> "Redis":
        with self._lock:
            if self._client is None:
                self._client = blocking_client(self._url, seconds=self._seconds)
            return self._client

    # --- what is held ----------------------------------------------------------------------------------

    def _line(self) -> Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = Line(self._url, seconds=self._seconds)
        return line

    def _took(self, found: Taken, lease: str) -> Taken:
        leased = tuple(standing for standing in found.standings if standing.is_leased)
        if leased and found.is_granted:
            with self._lock:
                self._held[lease] = leased
        return found

    def _took_for_nobody(self, done: "asyncio.Future[Any]", claims: Sequence[Claim], lease: str) -> None:
        if done.cancelled() or done.exception():
            self._may_hold(_as_asked(claims), lease)
            return
        found = taken(claims, done.result())
        if found.is_granted:
            self.settle(tuple(one for one in found.standings if one.is_returnable), lease, None)

    def _settled(self, done: "asyncio.Future[Any]", held: Held, lease: str) -> None:
        if done.cancelled() or done.exception():
            self._may_hold(held, lease)

    def _may_hold(self, held: Held, lease: str) -> None:
        """Note that Redis, which did not answer, may hold this for nobody: it does all the same what it was sent.

        Ending a lease twice does nothing; so no tokens of a minute are among it, which would be given back twice.
        """
        if leased := tuple(standing for standing in held if standing.is_leased):
            with self._lock:
                self._unsure[lease] = leased

    def _let_go(self, lease: str) -> None:
        with self._lock:
            self._held.pop(lease, None)


def _as_asked(claims: Sequence[Claim]) -> Held:
    """Return what was granted for ``claims`` if all of each was."""
    return tuple(Standing(claim, claim.amount, 0) for claim in claims)
