"""What all who use Redis share: how threads reach it, how it is told that it is away, and who notices.

It is asked at once or not at all, as whoever asks has something else to fall back on.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)


class RedisDown(Exception):
    """Redis does not answer, or not what it should."""


class Contact:
    """Whether Redis answers for one use of it, as far as this process knows; the log has each change once.

    ``meanwhile`` is what happens while it does not, in words.
    """

    def __init__(self, use: str, *, meanwhile: str) -> None:
        self._use = use
        self._meanwhile = meanwhile
        self.is_lost = False

    @property
    def state(self) -> str:
        """How Redis is, in words."""
        return f"does not answer; {self._meanwhile} meanwhile" if self.is_lost else "ok"

    def lost(self, error: Exception) -> None:
        if not self.is_lost:
            self.is_lost = True
            logger.warning("lost Redis for %s: it %s error=%s", self._use, self.state, error)

    def found(self) -> None:
        if self.is_lost:
            self.is_lost = False
            logger.info("Redis answers again for %s", self._use)


def blocking_client(url: str, *, seconds: float) -> "Redis":
    """Return a client that gives up after ``seconds`` and tries nothing twice; raises ValueError for no address."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=seconds, socket_connect_timeout=seconds)
