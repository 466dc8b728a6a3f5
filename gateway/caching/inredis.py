"""Answers in Redis, where many processes and machines find them at once. Blocks; for threads.

The database has them as well, for the administrator and for similar questions; this is only the quicker way.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings

from gateway.caching.kept import Kept
from gateway.redisclient import blocking_client
from routing.backends import codec

if TYPE_CHECKING:
    from redis import Redis

PREFIX = "moe:answer:"
ANSWER_SECONDS = 0.25
_FIELDS = ("digest", "key_id", "profile", "epoch", "created", "expires")


class Away(Exception):
    """Redis does not answer."""


def is_used() -> bool:
    """Tell whether there is a Redis."""
    return bool(settings.REDIS_URL)


def find(digest: str) -> Kept | None:
    """Return the answer to this very request; raises Away."""
    found: bytes | None = _asked("get", PREFIX + digest)
    if found is None:
        return None
    try:
        value = codec.loads(found)
        return Kept.of(value["answer"], **{name: value[name] for name in _FIELDS})
    except (LookupError, TypeError, ValueError):
        return None  # of another version of this program


def store(answers: Iterable[Kept], *, now: float) -> None:
    """Keep answers until they expire; ``now`` in seconds since 1970. Raises Away."""
    for kept in answers:
        value = {name: getattr(kept, name) for name in _FIELDS} | {"answer": kept.answer()}
        if (left := int((kept.expires - now) * 1000)) > 0:
            _asked("set", PREFIX + kept.digest, codec.dumps(value), px=left)


def forget(digests: Sequence[str]) -> None:
    """Delete answers; raises Away, after which they expire by themselves."""
    if digests:
        _asked("delete", *(PREFIX + digest for digest in digests))


def _asked(command: str, *arguments: Any, **options: Any) -> Any:
    from redis.exceptions import RedisError

    try:
        return getattr(_client(settings.REDIS_URL), command)(*arguments, **options)
    except (RedisError, OSError) as error:
        raise Away(f"{type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=4)
def _client(url: str) -> "Redis":
    return blocking_client(url, seconds=ANSWER_SECONDS)
