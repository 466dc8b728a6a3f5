"""Answers in Redis, where many processes and machines find them at once.

The database has them as well, for the administrator and for similar questions; this is only the quicker way.
"""

import asyncio
import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings

from gateway.caching.kept import Kept
from gateway.redisclient import Contact, RedisDown, blocking_client
from routing.backends import codec

if TYPE_CHECKING:
    from redis import Redis

PREFIX = "moe:answer:"
PROBE = "moe:probe:answers"
ANSWER_SECONDS = 0.25
PROBE_SECONDS = 1.0
_FIELDS = ("digest", "key_id", "profile", "epoch", "created", "expires")


class SharedAnswers:
    """The answers in one Redis. Blocks; for threads.

    What fails raises RedisDown, and from then on ``is_lost`` until a probe finds Redis again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._contact = Contact("answers", meanwhile="answers are looked up in the database")
        self._was_asked = False

    @property
    def is_lost(self) -> bool:
        return self._contact.is_lost

    @property
    def state(self) -> str | None:
        """How Redis is, in words; None while this process has not asked it for an answer."""
        return self._contact.state if self._was_asked else None

    def find(self, digest: str) -> Kept | None:
        """Return the answer to this very request; raises RedisDown."""
        found: bytes | None = self._asked("get", PREFIX + digest)
        if found is None:
            return None
        try:
            value = codec.loads(found)
            return Kept.of(value["answer"], **{name: value[name] for name in _FIELDS})
        except (LookupError, TypeError, ValueError):
            return None  # of another version of this program

    def store(self, answers: Iterable[Kept], *, now: float) -> None:
        """Keep answers until they expire; ``now`` in seconds since 1970. Raises RedisDown."""
        for kept in answers:
            value = {name: getattr(kept, name) for name in _FIELDS} | {"answer": kept.answer()}
            if (left := int((kept.expires - now) * 1000)) > 0:
                self._asked("set", PREFIX + kept.digest, codec.dumps(value), px=left)

    def forget(self, digests: Sequence[str]) -> None:
        """Delete answers; raises RedisDown, after which they expire by themselves."""
        if digests:
            self._asked("delete", *(PREFIX + digest for digest in digests))

    def probe(self) -> None:
        """Find out whether a Redis that was lost is there again; raises RedisDown."""
        self._asked("set", PROBE, b"", px=1_000)  # one that is full or only reads would not do
        self._contact.found()

    def _asked(self, command: str, *arguments: Any, **options: Any) -> Any:
        from redis.exceptions import RedisError

        self._was_asked = True
        try:
            return getattr(self._client, command)(*arguments, **options)
        except (RedisError, OSError, ValueError) as error:  # the last of an address that is none
            self._contact.lost(error)
            raise RedisDown(f"{type(error).__name__}: {error}") from error

    @functools.cached_property
    def _client(self) -> "Redis":
        return blocking_client(self._url, seconds=ANSWER_SECONDS)


def shared_answers() -> SharedAnswers | None:
    """Return the answers in Redis; None where there is no Redis."""
    return _answers_in(settings.REDIS_URL) if settings.REDIS_URL else None


@functools.lru_cache(maxsize=4)
def _answers_in(url: str) -> SharedAnswers:
    return SharedAnswers(url)


async def tend_answers() -> None:
    """Look each second for a Redis that was lost, for ever."""
    while shared := shared_answers():
        await asyncio.sleep(PROBE_SECONDS)
        if shared.is_lost:
            with contextlib.suppress(RedisDown):
                await asyncio.to_thread(shared.probe)
