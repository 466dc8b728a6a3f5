"""How threads reach Redis: at once or not at all, as whoever asks has something else to fall back on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis


def blocking_client(url: str, *, seconds: float) -> "Redis":
    """Return a client that gives up after ``seconds`` and tries nothing twice; raises ValueError for no address."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=seconds, socket_connect_timeout=seconds)
