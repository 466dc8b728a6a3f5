"""How politely a site is read: one request after the other, with a pause between them."""

import asyncio
import time
from dataclasses import dataclass

MOST_REMEMBERED = 1024
"""Hosts; those whose pause is over are forgotten beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """``delay`` is the pause in seconds between requests to a host; a site may ask for up to ``longest_delay``.

    Its robots.txt is asked for again after ``remember`` seconds, and one that could not be had after ``retry``.
    """

    delay: float = 0.25
    longest_delay: float = 10.0
    remember: float = 3600.0
    retry: float = 60.0

    def between(self, asked_for: float | None) -> float:
        """Return the pause for a site that asks for one of ``asked_for`` seconds."""
        return max(self.delay, min(asked_for or 0.0, self.longest_delay))


class Pace:
    """Gives turns to requests, host by host, in the order in which they ask."""

    def __init__(self) -> None:
        self._free: dict[str, float] = {}  # when the next request to a host may start

    async def turn(self, host: str, pause: float) -> None:
        """Return when a request to ``host`` may start; the next one has to wait ``pause`` seconds more."""
        now = time.monotonic()
        start = max(now, self._free.get(host, now))
        self._free[host] = start + pause
        if len(self._free) > MOST_REMEMBERED:
            self._free = {host: free for host, free in self._free.items() if free > now}
        await asyncio.sleep(start - now)
