"""One connection to Redis for all that an event loop asks: what is asked at the same time travels in one trip.

Many connections would each wait for the processor on a busy machine, and a wait of our own making looks like a Redis
that does not answer. What is submitted is sent even if whoever submitted it is cancelled, and in that order.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.limits.scripts import Script
from gateway.redisclient import RedisDown

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_AT_ONCE = 200
LOOKS = 6
T = TypeVar("T")


@dataclass(slots=True)
class Call:
    script: Script
    keys: Sequence[str]
    words: str
    answer: "asyncio.Future[Any]"


class Line:
    """``seconds`` is how long Redis may take to answer."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._waiting: deque[Call] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._client: Redis | None = None

    def submit(self, script: Script, keys: Sequence[str], words: str) -> "asyncio.Future[Any]":
        """Have ``script`` run; the future has its answer, or RedisDown."""
        loop = asyncio.get_running_loop()
        call = Call(script, keys, words, loop.create_future())
        self._waiting.append(call)
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send(), name="ask Redis")
        return call.answer

    async def aclose(self) -> None:
        if self._sending:
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending
        await self._disconnect()

    # --- one batch after the other -------------------------------------------------------------------

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            try:
                answers = await self._asked(batch)
            except Exception as error:  # whatever it is, those who wait must hear of it
                batch += self._waiting  # they would wait as long for as little
                self._waiting.clear()
                answers = [error] * len(batch)
            for call, answer in zip(batch, answers, strict=True):
                _give(call.answer, answer)

    async def _asked(self, batch: Sequence[Call]) -> list[Any]:
        client = await self._connected()
        answers = await self._in_time(self._run(client, batch))
        if unknown := [place for place, answer in enumerate(answers) if _is_unknown(answer)]:
            await self._in_time(_load(client))
            again = await self._in_time(self._run(client, [batch[place] for place in unknown]))
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        return answers

    async def _run(self, client: "Redis", batch: Sequence[Call]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for call in batch:
            pipeline.evalsha(call.script.digest, len(call.keys), *call.keys, call.words)
        return list(await pipeline.execute(raise_on_error=False))

    async def _connected(self) -> "Redis":
        if self._client is None:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            self._client = Redis.from_url(
                self._url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=None,  # _in_time watches
                socket_connect_timeout=None,
            )
            await self._in_time(_load(self._client))
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client:
            with contextlib.suppress(Exception):
                await client.aclose()

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns; raises RedisDown, without its connection, where that takes too long."""
        from redis.exceptions import RedisError

        task = asyncio.ensure_future(work)
        try:
            if not await _ended(task, self._seconds):
                raise RedisDown(f"no answer within {self._seconds:g} s")
            return task.result()
        except (RedisError, OSError) as error:
            await self._disconnect()
            raise RedisDown(f"{type(error).__name__}: {error}") from error
        except (RedisDown, asyncio.CancelledError):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, RedisError, OSError):
                await task
            await self._disconnect()
            raise


async def _ended(task: "asyncio.Future[Any]", seconds: float) -> bool:
    """Wait for ``task`` and tell whether it ended.

    Time in which this process was busy or had no processor is no silence of Redis': the answer may lie there unread.
    So it is the looks that count, and a late one counts as one.
    """
    for _ in range(LOOKS):
        done, _ = await asyncio.wait((task,), timeout=seconds / LOOKS)
        if done:
            return True
    return False


async def _load(client: "Redis") -> None:
    for script in Script:
        await client.script_load(script.text)


def _is_unknown(answer: Any) -> bool:
    from redis.exceptions import NoScriptError

    return isinstance(answer, NoScriptError)


def _give(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, RedisDown):
        future.set_exception(answer)
        future.exception()  # whoever left does not want to hear of it
    elif isinstance(answer, Exception):
        future.set_exception(RedisDown(f"{type(answer).__name__}: {answer}"))
        future.exception()
    else:
        future.set_result(answer)
